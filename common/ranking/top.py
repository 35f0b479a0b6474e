"""The best items of the catalogue for single rows, by the scores that the evaluator ranks by.

Shapes: [n] rows  [R] items listed
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.precision import exact_products
from common.ranking.blind import take_apart
from common.ranking.catalogue import Counts, rank_positives, split_catalogue
from common.ranking.plans import hide_targets, make_plan
from common.ranking.rerank import find_best, rerank_catalogue
from common.ranking.routes import Model, Traced, place_other
from common.ranking.rows import RankedRows
from common.training.mesh import fetch, put_batch
from common.training.task import Batch, Constants, Params, Task


class Target(NamedTuple):
    """Where the target of each row stands; of no use for a row without one."""

    score: jax.Array  # float32 [n]
    final: Counts  # int32 [n] each
    retriever: Counts | None  # by the retriever alone; None where the method scores the catalogue


class TopItems(NamedTuple):
    """The best items of some rows."""

    items: np.ndarray  # int32 [n, R], best first; 0 where fewer are left
    scores: np.ndarray  # float32 [n, R]; of no use where the item is 0
    places: np.ndarray  # int32 [n, R], where the retriever has them, from 1; or where they are here
    target: Target
    ranked_items: float  # mean number of items that are not left out


# rank(dataset, served, rows, count) -> TopItems.
#   served: "rec" or "search"; rows: int64 [n], of its table; no model looks at their targets
#   count: R, or as many as there are, or as a retriever finds
# Of equal items the smaller id comes first. Raises FloatingPointError for a score that is not
# finite.
Ranker = Callable[[Dataset, str, np.ndarray, int], TopItems]


def make_ranker(
    task: Task,
    params: Params,
    constants: Constants,
    mesh: Mesh,
    *,
    filter_seen: str,
    batch_size: int = 64,
) -> Ranker:
    """A function that lists the items with the highest scores for rows of a dataset.

    filter_seen: what is left out, as in `choose_filter`, never "auto"
    What it compiles it keeps: make it once.
    """

    @partial(jax.jit, static_argnums=(0, 1, 2))
    def rank(
        served: str,
        count: int,
        n_items: int,
        params: Params,
        constants: Constants,
        batch: Batch,
        other: Model | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array, Target]:
        items = split_catalogue(n_items, len(batch["target"]))
        rows = Traced(task, served, params, constants, take_apart(batch), other, items)
        target, seen = rows.blind.target, rows.blind.seen
        with exact_products():
            if task.score_catalogue is not None:
                assert seen is not None
                best, scores = find_best(rows.score_items, seen, items, count)
                own, counts = rank_positives(rows.score_items, target, seen, items)
                places = jnp.broadcast_to(jnp.arange(count), best.shape)
                return best, scores, 1 + places, Target(own, counts, None)
            short = rows.retrieve()
        found = jnp.where(short.items > 0, short.scores, -jnp.inf)
        scores, places = jax.lax.top_k(found, count)
        best = jnp.take_along_axis(short.items, places, axis=1)
        counts, first = rerank_catalogue(short, target)
        return best, scores, 1 + places, Target(short.own, counts, first)

    def list_items(dataset: Dataset, served: str, rows: np.ndarray, count: int) -> TopItems:
        events = dataset.events(served)
        ranked = RankedRows(rows, events.user[rows], events.target[rows], {})
        size = max(2, min(batch_size, len(rows)))  # one row's product rounds differently on CPU
        plan = make_plan(
            task, dataset, served, ranked, True, batch_size=size, filter_seen=filter_seen
        )
        most = dataset.n_items if task.score_catalogue else task.retrievers[served].count
        put, parts = partial(put_batch, mesh), []
        for batch, beside in hide_targets(plan, dataset.n_items):
            other = place_other(task, served, beside, put)
            kind = (served, min(count, most, dataset.n_items), dataset.n_items)
            parts.append(fetch(mesh, rank(*kind, params, constants, put(batch), other)))
        best, scores, places, target = jax.tree.map(
            lambda *arrays: np.concatenate(arrays)[: len(rows)], *parts
        )
        broken = target.final.broken != 0
        if broken.any():
            row = int(rows[np.argmax(broken)])
            raise FloatingPointError(
                f"{served}.parquet, row {row + 1}: a score is not finite; look for a diverged loss"
            )
        return TopItems(best, scores, places, target, plan.mean_size)

    return list_items
