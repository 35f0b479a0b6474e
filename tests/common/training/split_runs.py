"""Runs of a tiny task with a table of 17 items on meshes of 8 devices; prints what they gave.

python split_runs.py FOLDER

The table's rows divide by neither 2 nor 4, so they are padded where a mesh has a model axis.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tiny_run import BATCH, QUIET, TinySource, interrupt, iterate, make_stage, read_lines

from common.data.view import View
from common.training.loop import train
from common.training.mesh import put_batch, read_mesh
from common.training.restore import load_trained
from common.training.sharding import pad_task
from common.training.task import Optimizer, Task

ITEMS, WIDTH = 17, 4
MESHES = ("data:1", "data:8", "data:4,model:2", "data:2,model:4")


def init(key: jax.Array, batch: dict[str, jax.Array]) -> tuple[Any, Any]:
    table = jax.random.uniform(key, (ITEMS, WIDTH))
    return {"item": {"embedding": table}, "head": {"bias": jnp.zeros((1,))}}, {}


def loss(params: Any, constants: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any]:
    """A softmax over all items: one row too many in the table would change it."""
    state = jnp.stack([batch["value"]] * WIDTH, axis=1) + params["head"]["bias"]
    scores = state @ params["item"]["embedding"].T
    target = params["item"]["embedding"][batch["user"]].sum(axis=1)
    each = jax.nn.logsumexp(scores, axis=1) - target
    noise = jax.random.uniform(key, each.shape)
    valid = batch["valid"].astype(jnp.float32)
    assert scores.shape == (BATCH, ITEMS)
    return ((each + 0.1 * noise * each) * valid).sum() / valid.sum(), {}


def validate(params: Any, constants: Any) -> dict[str, float]:
    return {"fit": float(-jnp.square(params["item"]["embedding"]).sum())}


def make_task() -> Task:
    stage = make_stage(
        loss=loss,
        epochs=2,
        optimizer=Optimizer(learning_rate=0.05, weight_decay=0.1, clip_norm=1.0),
    )
    tables = ("item/embedding",)
    return Task(
        "split", ("rec",), View(), init, (stage,), score=lambda *_: None, split_tables=tables
    )


def run(folder: Path, mesh_text: str, how: Any = iterate) -> Any:
    mesh = read_mesh(mesh_text)
    batch = put_batch(mesh, next(iterate(TinySource(make_stage(epochs=1)))))
    task = pad_task(make_task(), mesh, batch)
    return train(
        task, TinySource, lambda stage: validate, QUIET, folder, 3, mesh, iterate=how
    )  # fmt: skip


def describe(result: Any, folder: Path) -> dict[str, Any]:
    table = result.params["item"]["embedding"]
    return {
        "table": np.asarray(table)[:ITEMS].tolist(),
        "added": np.asarray(table)[ITEMS:].tolist(),
        "rows_on_a_device": table.sharding.shard_shape(table.shape)[0],
        "loss": [line["values"]["loss"] for line in read_lines(folder, "train")],
    }


def main() -> None:
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 8)
    folder, found = Path(sys.argv[1]), {}
    for number, mesh in enumerate(MESHES):
        found[mesh] = describe(run(folder / str(number), mesh), folder / str(number))
    # Saved on one mesh, gone on with on another, and read on a third.
    moved = folder / "moved"
    run(moved, "data:4,model:2", interrupt("SIGTERM", 5))
    found["moved"] = describe(run(moved, "data:2,model:4"), moved)
    mesh = read_mesh("data:1")
    batch = TinySource(make_stage())[0]
    params, _, _ = load_trained(make_task(), batch, moved, 3, mesh)
    found["moved"]["read"] = np.asarray(params["item"]["embedding"]).tolist()
    print(json.dumps(found))


if __name__ == "__main__":
    main()
