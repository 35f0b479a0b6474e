"""Gradients of every stage of LCR and GenSR on several meshes, as a script of its own.

python split_gradients.py DATASET OUT.npz
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.batches import training_source
from common.data.dataset import Dataset
from common.data.folder import load_dataset
from common.runs.config_file import load_config_file
from common.runs.tasks import build_task, take_batch
from common.training.mesh import MODEL, full_sharding, put_batch, read_mesh, row_sharding
from common.training.optimizers import map_named, name_leaves
from common.training.sharding import pad_task, place_params
from common.training.step import init_params, place_key, prepare_constants
from common.training.task import Task

ROOT = Path(__file__).resolve().parents[2]
MESHES = ("data:1", "data:4,model:2")
CHANGES: dict[str, dict[str, Any]] = {
    "lcr": {"second.kind": "reinforce", "second.rollouts": 2, "model.layers": 1},
    "gensr": {"text.vocabulary": 256},
}


def start(method: str, dataset: Dataset) -> tuple[Task, Any, Any]:
    """The task of a tiny config, and its first parameters and constants, on the host."""
    config = load_config_file(str(ROOT / f"{method}_jax/configs/tiny.py"))
    config.update_from_flattened_dict(CHANGES[method])
    config.train.batch_size = 16
    task, mesh = build_task(config, dataset), read_mesh("data:1")
    batch = put_batch(mesh, take_batch(task, dataset))
    return task, *jax.device_get(init_params(task, place_key(0, "init", mesh), batch, mesh))


def differentiate(
    task: Task, params: Any, constants: Any, mesh: Mesh, dataset: Dataset
) -> dict[str, np.ndarray]:
    """{"STAGE/loss": its loss, "STAGE/PARAMETER": its gradient, without padded rows,
    "STAGE|gathered": see `list_gathered`}."""
    task = pad_task(task, mesh, take_batch(task, dataset))
    parts, full, found = mesh.shape[MODEL], full_sharding(mesh), {}

    def add_rows(name: str, array: np.ndarray) -> np.ndarray:
        missing = -task.rows.get(name, 0) % parts
        return np.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array

    params = map_named(add_rows, params)
    places = place_params(params, mesh, task.split_tables)
    params = jax.device_put(params, places)
    copies = jax.jit(lambda same: same, out_shardings=full).lower(params).compile()
    assert parts == 1 or list_gathered(copies.as_text(), params)  # it can find what it looks for
    for stage in task.stages:
        source = training_source(dataset, stage.view, stage.batch_size, 0, 1)
        own = prepare_constants(stage, params, jax.device_put(constants, full), mesh)
        if stage.keeps_start:
            own = {**own, "start": params}
        run = jax.jit(
            jax.value_and_grad(stage.loss, has_aux=True),
            in_shardings=(
                places,
                {name: places if name == "start" else full for name in own},
                row_sharding(mesh),
                full,
            ),
            out_shardings=(full, places),
        )
        batch = put_batch(mesh, source[0])
        inputs = (params, own, batch, place_key(1, "step", mesh))
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # as a training step does
            compiled = run.lower(*inputs).compile()
        found[f"{stage.name}|gathered"] = np.array(list_gathered(compiled.as_text(), params))
        (loss, _), grads = compiled(*inputs)
        found[f"{stage.name}/loss"] = np.asarray(loss)
        for name, leaf in name_leaves(grads):
            array = np.atleast_1d(leaf)
            rows = task.rows.get(name, len(array))
            assert not np.any(array[rows:]), name  # of a row that was added
            found[f"{stage.name}/{name}"] = array[:rows]
    return found


def list_gathered(program: str, params: Any) -> list[str]:
    """Shapes, as text, that a compiled program gathers on every device and that are a table's."""
    tables = {
        ",".join(map(str, leaf.shape))
        for leaf in jax.tree.leaves(params)
        if MODEL in leaf.sharding.spec
    }
    gathered = re.findall(r"= [^=]*? all-gather\(", program)
    shapes = {shape for line in gathered for shape in re.findall(r"\[([\d,]+)\]", line)}
    return sorted(tables & shapes)


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    dataset = load_dataset(Path(sys.argv[1]), "leave_one_out_joint")
    flat = {}
    for method in CHANGES:
        begun = start(method, dataset)
        for text in MESHES:
            found = differentiate(*begun, read_mesh(text), dataset)
            flat |= {f"{method}|{text}|{name}": array for name, array in found.items()}
    np.savez(sys.argv[2], **flat)


if __name__ == "__main__":
    main()
