"""The best items of the catalogue for single rows, by the scores that the evaluator ranks by.

Shapes: [n] rows  [B] batch  [R] items listed
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.errors import InputError
from common.ranking.blind import (
    PLACES,
    POSITIVE,
    STAND_IN,
    blank_target,
    check_scores,
    hide_target,
    score_shuffled,
    take_hidden,
)
from common.ranking.catalogue import split_catalogue
from common.ranking.plans import make_plan
from common.ranking.rerank import bind_finder, find_best, make_shortlist
from common.ranking.rows import RankedRows
from common.training.mesh import fetch, put_batch
from common.training.task import Constants, Params, Task, ranks_catalogue


class TopItems(NamedTuple):
    """The best items of some rows."""

    items: np.ndarray  # int32 [n, R], best first; 0 where fewer are left
    scores: np.ndarray  # float32 [n, R]; of no use where the item is 0


def rank_top(
    task: Task,
    params: Params,
    constants: Constants,
    dataset: Dataset,
    served: str,
    rows: np.ndarray,
    mesh: Mesh,
    *,
    count: int,
    filter_seen: str,
    batch_size: int = 64,
) -> TopItems:
    """The items with the highest scores for each row of a task's table.

    served: "rec" or "search"; rows: int64 [n], whose target is not looked at
    count: R, or as many as there are, or as a retriever finds
    filter_seen: what is left out, as in `choose_filter`, never "auto"
    Of equal items the smaller id comes first. Raises InputError for a method that does not rank
    the catalogue, FloatingPointError for a score that is not finite.
    """
    if not ranks_catalogue(task, served):
        raise InputError(f"method {task.name}: does not rank the catalogue for {served}")
    events = dataset.events(served)
    ranked = RankedRows(rows, events.user[rows], events.target[rows], {})
    size = max(2, min(batch_size, len(rows)))  # a product with one row rounds differently on CPU
    plan = make_plan(task, dataset, served, ranked, True, batch_size=size, filter_seen=filter_seen)
    retriever = None if task.score_catalogue else task.retrievers[served]
    count = min(count, dataset.n_items, *([retriever.count] if retriever else []))
    items = split_catalogue(dataset.n_items, size)

    @jax.jit
    def find(
        params: Params, constants: Constants, batch: Any, other: Any
    ) -> tuple[jax.Array, jax.Array]:
        batch = dict(batch)
        hidden = take_hidden(batch)
        bare = {**batch, "target": hidden[STAND_IN], "negatives": batch["negatives"][:, :0]}

        def score(shown: Any) -> jax.Array:
            found = task.score(params, constants, shown)
            shape = (size, 1 + shown["negatives"].shape[1])
            return check_scores(found, shape, f"method {task.name}, score")

        with jax.default_matmul_precision("highest"):
            if retriever is None:
                assert task.score_catalogue is not None
                by_catalogue = partial(task.score_catalogue, params, constants, bare)
                return find_best(by_catalogue, hidden["seen"], items, count)
            short = make_shortlist(
                bind_finder(retriever, params, constants, bare, other),
                lambda ids: score_shuffled(score, batch, ids, hidden[PLACES]),
                retriever.count,
                hidden[POSITIVE],
                hidden["seen"],
                hidden[STAND_IN],
                items,
            )
        scores = jnp.where(short.items > 0, short.scores, -jnp.inf)
        best, place = jax.lax.top_k(scores, count)
        return jnp.take_along_axis(short.items, place, axis=1), best

    found = []
    for batch, order, beside in zip(plan.batches, plan.orders, plan.others, strict=True):
        other = None
        if beside is not None and retriever is not None and retriever.other is not None:
            shown = put_batch(mesh, blank_target(beside, dataset.n_items))
            other = (retriever.other.params, retriever.other.constants, shown)
        blind = put_batch(mesh, hide_target(batch, order, dataset.n_items))
        found.append(fetch(mesh, find(params, constants, blind, other)))
    best, scores = (np.concatenate(parts)[: len(rows)] for parts in zip(*found, strict=True))
    bad = np.isnan(scores) | (scores == np.inf)
    if bad.any():
        row = int(rows[np.argmax(bad.any(axis=1))])
        raise FloatingPointError(
            f"{served}.parquet, row {row + 1}: a score is not finite; look for a diverged loss"
        )
    return TopItems(best, scores)
