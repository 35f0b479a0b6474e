"""Gradients of every stage of LCR and GenSR on several meshes, as a script of its own.

python split_gradients.py DATASET OUT.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.batches import training_source
from common.data.dataset import Dataset
from common.data.folder import load_dataset
from common.data.timeline import Timeline, build_timeline
from common.training.mesh import full_sharding, put_batch, read_mesh, row_sharding
from common.training.optimizers import name_leaves
from common.training.sharding import find_shardings, pad_task
from common.training.step import init_params, place_key, prepare_constants
from launch.config import load_config
from launch.methods import build_task, take_batch

ROOT = Path(__file__).resolve().parents[2]
MESHES = ("data:1", "data:4,model:2")
CHANGES: dict[str, dict[str, Any]] = {
    "lcr": {"second.kind": "reinforce", "second.rollouts": 2, "model.layers": 1},
    "gensr": {"text.vocabulary": 256},
}
# Compiles in a fraction of the time; what it makes is slower, and small here.
QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
}


def differentiate(
    method: str, mesh: Mesh, dataset: Dataset, timeline: Timeline
) -> dict[str, np.ndarray]:
    """{"STAGE/loss": its loss, "STAGE/PARAMETER": its gradient, without padded rows}."""
    config = load_config(str(ROOT / f"{method}_jax/configs/tiny.py"))
    config.update_from_flattened_dict(CHANGES[method])
    config.train.batch_size = 16
    task = build_task(config, dataset)
    task = pad_task(task, mesh, take_batch(task, dataset, timeline))
    full, found = full_sharding(mesh), {}
    for stage in task.stages:
        source = training_source(dataset, timeline, stage.view, stage.batch_size, 0, 1)
        batch = put_batch(mesh, source[0])
        params, constants = init_params(task, place_key(0, "init", mesh), batch, mesh)
        places = find_shardings(params, mesh)
        constants = prepare_constants(stage, params, constants, mesh)
        if stage.keeps_start:
            constants = {**constants, "start": params}
        constant_places = {name: places if name == "start" else full for name in constants}
        run = jax.jit(
            jax.value_and_grad(stage.loss, has_aux=True),
            in_shardings=(places, constant_places, row_sharding(mesh), full),
            out_shardings=(full, places),
            compiler_options=QUICK,
        )
        (loss, _), grads = run(params, constants, batch, place_key(1, "step", mesh))
        found[f"{stage.name}/loss"] = np.asarray(loss)
        for name, leaf in name_leaves(grads):
            array = np.atleast_1d(leaf)
            rows = task.rows.get(name, len(array))
            assert not np.any(array[rows:]), name  # of a row that was added
            found[f"{stage.name}/{name}"] = array[:rows]
    return found


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    dataset = load_dataset(Path(sys.argv[1]), "leave_one_out_joint")
    timeline = build_timeline(dataset.rec, dataset.search, dataset.n_users, dataset.history_order)
    flat = {
        f"{method}|{text}|{name}": array
        for method in CHANGES
        for text in MESHES
        for name, array in differentiate(method, read_mesh(text), dataset, timeline).items()
    }
    np.savez(sys.argv[2], **flat)


if __name__ == "__main__":
    main()
