"""The evidence figures of a trained model on data with planted truth."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.batches import Batch, evaluation_source
from common.data.dataset import Dataset
from common.data.edits import pool_searches, swap_searches
from common.precision import exact_products
from common.ranking.evidence import EvidenceTable, evidence_report
from common.training.mesh import fetch, spread_batch
from common.training.task import Constants, Params, Task


def weigh_evidence(
    task: Task,
    params: Params,
    constants: Constants,
    dataset: Dataset,
    mesh: Mesh,
    batch_size: int,
    seed: int,
    swaps: int = 1,
) -> dict[str, Any]:
    """Do the model's evidence weights point at the searches that were useful?

    Takes the weights of `read_weights` on the validation and test rows of the rec task and
    returns `evidence_report`. Beside "model" stands "swapped" (with more `swaps` also "swapped 2",
    ...): the model is fed what other users searched for (`swap_searches`), and the weight of each
    slot is held against the user's own search of that slot. A model that weighs by what it is
    fed then scores by chance, 0.5; anything above comes from elsewhere.
    Raises ValueError for a method without `explain`.
    """
    rows = np.union1d(dataset.rows["rec", "valid"], dataset.rows["rec", "test"])
    rows = rows[dataset.timeline.history_size("rec", rows) >= task.view.min_history]
    source = evaluation_source(dataset, task.view, rows, batch_size)
    batches = [source[step] for step in range(len(source))]
    weigh = make_weigher(task, params, constants, mesh)
    real = [(batch["search_mask"] != 0) & (batch["valid"] != 0)[:, None] for batch in batches]

    def collect(read: Callable[[Batch], np.ndarray]) -> np.ndarray:
        return np.concatenate([read(b)[mask] for b, mask in zip(batches, real, strict=True)])

    def weigh_swapped(swap: Callable[[Batch], Batch], batch: Batch) -> np.ndarray:
        return weigh(swap(batch))[:, 1:]

    pool = pool_searches(dataset.timeline, task.view.clicks)
    several = np.count_nonzero(np.diff(pool.off)) > 1
    controls = {}
    for draw in range(swaps if several else 0):
        swap = partial(swap_searches, pool=pool, seed=seed, draw=draw)
        name = f"swapped {draw + 1}" if draw else "swapped"
        controls[name] = collect(partial(weigh_swapped, swap))
    table = EvidenceTable(
        collect(lambda batch: np.broadcast_to(batch["row"][:, None], batch["search_row"].shape)),
        collect(lambda batch: batch["search_row"]),
        collect(lambda batch: weigh(batch)[:, 1:]),
    )
    return evidence_report(dataset, table, seed, controls)


def make_weigher(
    task: Task, params: Params, constants: Constants, mesh: Mesh
) -> Callable[[Batch], np.ndarray]:
    """A function from a host batch to its mean evidence, float32 [B, N + 1], null event first.

    Raises ValueError for a method without `explain`.
    """
    explain = task.explain
    if explain is None:
        raise ValueError(f"method {task.name} explains nothing")
    compiled = jax.jit(exact_products()(lambda p, c, b: explain(p, c, b)["mean_evidence"]))
    return lambda batch: fetch(mesh, compiled(params, constants, spread_batch(mesh, batch)))
