"""Gradients of both stages of a small GenSR on 1 and on 8 virtual devices, as a script of its own.

python gradients.py OUT.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from conftest import ITEMS, WIDTH, draw_like, make_case

from common.data.view import View
from common.training.mesh import full_sharding, make_mesh, row_sharding
from gensr_jax.lightgcn import init_lightgcn
from gensr_jax.pretrain import PretrainSettings, make_pretrain_stage
from gensr_jax.settings import LossSettings
from gensr_jax.tune import tune_loss

DEVICES = ROWS = USERS = 8
KEY = 5
# Compiles in a fraction of the time; what it makes is slower, and small here.
QUICK: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
}


def differentiate(loss: Any, params: Any, constants: Any, batch: Any) -> dict[str, np.ndarray]:
    """Loss and gradients by name, "1/NAME" and "8/NAME", with the batch split over the devices."""
    found = {}
    for count in (1, DEVICES):
        mesh = make_mesh(jax.devices()[:count])
        full, rows = full_sharding(mesh), row_sharding(mesh)
        run = jax.jit(
            jax.value_and_grad(loss),
            in_shardings=(full, full, rows),
            out_shardings=full,
            compiler_options=QUICK,
        )
        value, grads = run(params, constants, batch)
        for path, leaf in jax.tree_util.tree_leaves_with_path({"loss": value, "grads": grads}):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            found[f"{count}/{name}"] = np.asarray(leaf)
    return found


def run_tune() -> dict[str, np.ndarray]:
    """Dropout on; lists of both tasks, the last one padding."""
    case = make_case(draw_like)
    batch = {name: jnp.concatenate([rows] * 3)[:ROWS] for name, rows in case.batch.items()}
    batch["user"] = jnp.arange(1, ROWS + 1)
    batch["valid"] = batch["valid"].at[-1].set(0)

    def loss(params: Any, constants: Any, batch: Any) -> jax.Array:
        key = jax.random.key(KEY)
        return tune_loss(case.module, LossSettings(), params, constants, batch, key)[0]

    return differentiate(loss, case.params, case.constants, batch)


def run_pretrain() -> dict[str, np.ndarray]:
    """LightGCN where user u has taken the items u and u + 1."""
    rows = [USERS + 1 + item for user in range(1, USERS + 1) for item in (user, user + 1)]
    columns = np.repeat(np.arange(1, USERS + 1), 2)
    nodes = USERS + 1 + ITEMS + 1
    dense = np.zeros((nodes, nodes))
    dense[rows, columns] = dense[columns, rows] = 1
    row, neighbour = np.nonzero(dense)
    degree = dense.sum(axis=1)
    graph = {
        "graph_weight": jnp.asarray(1 / np.sqrt(degree[row] * degree[neighbour]), jnp.float32),
        "graph_neighbour": jnp.asarray(neighbour, jnp.int32),
        "graph_start": jnp.asarray(np.r_[0, np.cumsum(degree)], jnp.int32),
        "graph_mix": jnp.full(3, 1 / 3, jnp.float32),
    }
    users = jnp.arange(1, USERS + 1)
    batch = {
        "user": users,
        "target": users,
        "negatives": (users[:, None] + 3) % ITEMS + 1,
        "valid": jnp.ones(USERS, jnp.uint8).at[-1].set(0),
    }
    stage = make_pretrain_stage(PretrainSettings(), View())

    def loss(params: Any, constants: Any, batch: Any) -> jax.Array:
        return stage.loss(params, constants, batch, jax.random.key(KEY))[0]

    params = init_lightgcn(jax.random.key(0), USERS, ITEMS, WIDTH)
    return differentiate(loss, params, graph, batch)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", DEVICES)
    found = {"tune": run_tune(), "pretrain_cf": run_pretrain()}
    flat = {f"{stage}/{name}": x for stage, part in found.items() for name, x in part.items()}
    np.savez(options.out, **flat)


if __name__ == "__main__":
    main()
