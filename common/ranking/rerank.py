"""The full ranking of a method that is too slow for the catalogue: retrieve, then rank again.

A retriever scores all items; the method scores the best of them. Who is not retrieved stays where
the retriever has put him, behind everything that is.

Shapes: [B] batch  [F] filtered items per row  [I] items of a chunk  [K] chunks  [R] retrieved
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.ranking.catalogue import Counts, count_catalogue, score_chunk
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import Ranks
from common.training.task import Batch, Constants, Params, Task


class Reranked(NamedTuple):
    """What two rankings say about each row."""

    final: Counts  # retrieved items by the method, the others by the retriever
    retriever: Counts  # all items by the retriever


def rerank_catalogue(
    task: Task,
    params: Params,
    constants: Constants,
    batch: Batch,
    seen: jax.Array,
    items: np.ndarray,
) -> Reranked:
    """Ranks the positive of each row among the items that the task's retriever finds.

    seen:  int32 [B, F], items left out of each row: distinct, without the target, 0 pads
    items: int32 [K, I] as from `split_catalogue`
    The positive is retrieved like any other item, by its score. If it is not, its rank is the
    retriever's, and at least one behind the retrieved items, even where it ties with the last.
    """
    assert task.retriever is not None
    score_all = task.retriever.score_catalogue
    count = min(task.retriever.count, int((items > 0).sum()))
    target = batch["target"][:, None]

    def score(chunk: jax.Array) -> jax.Array:
        return score_all(params, constants, batch, chunk)

    first = count_catalogue(score, batch["target"], seen, items)
    top = find_top(score, seen, items, count)
    others = (top > 0) & (top != target)
    # As in `protocols`: multiples of 8 candidates, filled up with the target, keep ties exact.
    filler = jnp.repeat(target, -(count + 1) % 8, axis=1)
    negatives = jnp.concatenate([jnp.where(others, top, target), filler], axis=1)
    scores = task.score(params, constants, {**batch, "negatives": negatives}).astype(jnp.float32)
    own, rest = scores[:, :1], scores[:, 1 : 1 + count]
    greater = jnp.sum(others & (rest > own), axis=1, dtype=jnp.int32)
    equal = jnp.sum(others & (rest == own), axis=1, dtype=jnp.int32)
    candidates = jnp.concatenate([target, negatives], axis=1)
    broken = jnp.max(jnp.where(jnp.isfinite(scores), 0, candidates), axis=1)

    found = (top == target).any(axis=1)
    low = jnp.maximum(first.greater, count)
    high = jnp.maximum(first.greater + first.equal, low)
    final = Counts(
        jnp.where(found, greater, low),
        jnp.where(found, equal, high - low),
        jnp.maximum(broken, first.broken),
    )
    return Reranked(final, first)


def measure_recall(task: Task, ranks: Ranks) -> dict[str, dict[str, float]]:
    """{"rec/full": {"count": R, "recall": share of positives among R items}} of a retriever.

    ranks: by the retriever alone; ties at the last place count with their mean over all orders
    """
    assert task.retriever is not None
    count, shares = task.retriever.count, {}
    for (name, protocol), table in ranks.items():
        hits = metrics_from_ranks(table.rank_low, table.rank_high, hit_cuts=(count,), gain_cuts=())[
            f"HR@{count}"
        ]
        shares[f"{name}/{protocol}"] = {"count": count, "recall": float(hits.mean())}
    return shares


def find_top(
    score: Callable[[jax.Array], jax.Array], seen: jax.Array, items: np.ndarray, count: int
) -> jax.Array:
    """The items with the highest scores of each row, best first: int32 [B, R].

    score: int32 [I] items -> [B, I] scores; seen, items: as in `rerank_catalogue`; count: R
    Of equal items the smaller id comes first. 0 where fewer items are left.
    """
    rows = jnp.arange(len(seen))[:, None]

    def step(
        best: tuple[jax.Array, jax.Array], chunk: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        place = seen - chunk[0]  # ids of a chunk are consecutive
        inside = (seen > 0) & (place >= 0) & (place < len(chunk))
        place = jnp.where(inside, place, len(chunk))
        scores = jnp.where(chunk > 0, score_chunk(score, chunk), -jnp.inf)
        scores = scores.at[rows, place].set(-jnp.inf, mode="drop")
        scores = jnp.concatenate([best[0], scores], axis=1)
        ids = jnp.concatenate([best[1], jnp.broadcast_to(chunk, (len(seen), len(chunk)))], axis=1)
        top, column = lax.top_k(scores, count)
        return (top, jnp.take_along_axis(ids, column, axis=1)), None

    shape = (len(seen), count)
    start = (jnp.full(shape, -jnp.inf, jnp.float32), jnp.zeros(shape, jnp.int32))
    (top, ids), _ = lax.scan(step, start, jnp.asarray(items))
    return jnp.where(top > -jnp.inf, ids, 0)
