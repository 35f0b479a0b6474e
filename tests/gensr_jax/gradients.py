"""Gradients of both stages of a small GenSR on some virtual devices, as a script of its own.

python gradients.py OUT.npz --devices N
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from conftest import ITEMS, WIDTH, make_case

from common.data.view import View
from common.training.mesh import full_sharding, make_mesh, row_sharding
from gensr_jax.lightgcn import init_lightgcn
from gensr_jax.pretrain import PretrainSettings, make_pretrain_stage
from gensr_jax.settings import LossSettings
from gensr_jax.tune import tune_loss

ROWS = 8
KEY = 5


def differentiate(loss: Any, params: Any, constants: Any, batch: Any) -> dict[str, np.ndarray]:
    """Loss and gradients by name, with the batch split over all devices."""
    mesh = make_mesh()
    full, rows = full_sharding(mesh), row_sharding(mesh)
    run = jax.jit(
        jax.value_and_grad(loss),
        in_shardings=(full, full, rows),
        out_shardings=full,
        compiler_options={"xla_backend_optimization_level": 0},
    )
    value, grads = run(params, constants, batch)
    leaves = jax.tree_util.tree_leaves_with_path(grads)
    named = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    return {"loss": np.asarray(value)} | {name: np.asarray(leaf) for name, leaf in named.items()}


def run_tune() -> dict[str, np.ndarray]:
    """Dropout on; lists of both tasks, the last one padding."""
    case = make_case()
    batch = {name: jnp.concatenate([rows] * 3)[:ROWS] for name, rows in case.batch.items()}
    batch["user"] = jnp.arange(1, ROWS + 1)
    batch["valid"] = batch["valid"].at[-1].set(0)

    def loss(params: Any, constants: Any, batch: Any) -> jax.Array:
        key = jax.random.key(KEY)
        return tune_loss(case.module, LossSettings(), params, constants, batch, key)[0]

    return differentiate(loss, case.params, case.constants, batch)


def run_pretrain() -> dict[str, np.ndarray]:
    """LightGCN over a ring of users and items."""
    users = 8
    pairs = [(user, 1 + (user + more) % ITEMS) for user in range(users) for more in (0, 1)]
    params = init_lightgcn(jax.random.key(0), users, ITEMS, WIDTH)
    raise NotImplementedError(pairs, params, make_pretrain_stage, PretrainSettings, View)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--devices", type=int, required=True)
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", options.devices)
    assert jax.device_count() == options.devices
    np.savez(options.out, **run_tune())


if __name__ == "__main__":
    main()
