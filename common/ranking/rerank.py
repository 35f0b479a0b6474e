"""The full ranking of a method that is too slow for the catalogue: retrieve, then rank again.

A retriever scores all items; the method scores the best of them. Who is not retrieved stays where
the retriever has put him, behind everything that is.

Shapes: [B] batch  [F] filtered items per row  [I] items of a chunk  [K] chunks  [R] retrieved
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.ranking.blind import pad_columns
from common.ranking.catalogue import Counts, count_catalogue, score_chunk
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import Ranks
from common.training.task import Batch, Constants, Params, Retriever


class Shortlist(NamedTuple):
    """What a retriever has found for each row, with the method's scores."""

    items: jax.Array  # int32 [B, R], best of the retriever first; 0 where fewer are left
    scores: jax.Array  # float32 [B, R], by the method; of no use where the item is 0
    own: jax.Array  # float32 [B], the positive's, retrieved or not
    first: Counts  # all items by the retriever
    broken: jax.Array  # int32 [B], an item whose score by the method is not finite; 0 = none


class Reranked(NamedTuple):
    """What two rankings say about each row."""

    final: Counts  # retrieved items by the method, the others by the retriever
    retriever: Counts  # all items by the retriever


def bind_finder(
    retriever: Retriever,
    params: Params,
    constants: Constants,
    batch: Batch,
    other: tuple[Params, Constants, Batch] | None,
) -> Callable[[jax.Array], jax.Array]:
    """The retriever's scores [B, I] of items int32 [I], for the rows of a batch.

    params, constants, batch: the task's; other: those of a retriever that is another model
    """
    model = (params, constants, batch) if other is None else other
    return lambda items: retriever.score_catalogue(*model, items)


def make_shortlist(
    find: Callable[[jax.Array], jax.Array],
    score: Callable[[jax.Array], jax.Array],
    count: int,
    target: jax.Array,
    seen: jax.Array,
    stand_in: jax.Array,
    items: np.ndarray,
) -> Shortlist:
    """Retrieves R items for each row and scores them, and the positive, with the method.

    find:   int32 [I] items -> [B, I], the retriever's scores
    score:  candidates int32 [B, n] -> float32 [B, n], the method's scores, see `score_shuffled`
    count:  R, or all items where there are fewer
    target: int32 [B]; the positive is retrieved like any other item, by its score
    seen:   int32 [B, F], items left out of each row: distinct, without the target, 0 pads
    stand_in: int32 [B], an item for the places that would be empty, or have the positive twice
    items:  int32 [K, I] as from `split_catalogue`
    """
    count = min(count, int((items > 0).sum()))
    first = count_catalogue(find, target, seen, items)
    top = find_top(find, seen, items, count)
    own, other = target[:, None], stand_in[:, None]
    filler = jnp.repeat(other, pad_columns(count + 1), axis=1)
    retrieved = jnp.where((top > 0) & (top != own), top, other)
    candidates = jnp.concatenate([own, retrieved, filler], axis=1)
    scores = score(candidates)
    broken = jnp.max(jnp.where(jnp.isfinite(scores), 0, candidates), axis=1)
    by_method = jnp.where(top == own, scores[:, :1], scores[:, 1 : 1 + count])
    return Shortlist(top, by_method, scores[:, 0], first, broken)


def rerank_catalogue(shortlist: Shortlist, target: jax.Array) -> Reranked:
    """Ranks the positive of each row, int32 [B], among the items of a shortlist.

    If it was not retrieved, its rank is the retriever's, and at least one behind the retrieved
    items, even where it ties with the last.
    """
    top, first = shortlist.items, shortlist.first
    count = top.shape[1]
    others = (top > 0) & (top != target[:, None])
    own = shortlist.own[:, None]
    greater = jnp.sum(others & (shortlist.scores > own), axis=1, dtype=jnp.int32)
    equal = jnp.sum(others & (shortlist.scores == own), axis=1, dtype=jnp.int32)
    found = (top == target[:, None]).any(axis=1)
    low = jnp.maximum(first.greater, count)
    high = jnp.maximum(first.greater + first.equal, low)
    final = Counts(
        jnp.where(found, greater, low),
        jnp.where(found, equal, high - low),
        jnp.maximum(shortlist.broken, first.broken),
    )
    return Reranked(final, first)


def measure_recall(retrievers: Mapping[str, Retriever], ranks: Ranks) -> dict[str, dict[str, Any]]:
    """What the retrievers of a task are, and how often they find the positive.

    ranks: by the retriever alone; ties at the last place count with their mean over all orders
    Returns {"rec/full": {"count": R, "recall": share of positives among R items, "by": "lightgcn",
    and the retriever's origin}}.
    """
    told = {}
    for (served, protocol), table in ranks.items():
        retriever = retrievers[served]
        count = retriever.count
        hits = metrics_from_ranks(table.rank_low, table.rank_high, hit_cuts=(count,), gain_cuts=())
        recall = float(hits[f"HR@{count}"].mean())
        told[f"{served}/{protocol}"] = {
            "count": count, "recall": recall, "by": retriever.name, **retriever.origin,
        }  # fmt: skip
    return told


def find_top(
    score: Callable[[jax.Array], jax.Array], seen: jax.Array, items: np.ndarray, count: int
) -> jax.Array:
    """The items with the highest scores of each row, best first: int32 [B, R].

    As `find_best`, without the scores.
    """
    return find_best(score, seen, items, count)[0]


def find_best(
    score: Callable[[jax.Array], jax.Array], seen: jax.Array, items: np.ndarray, count: int
) -> tuple[jax.Array, jax.Array]:
    """The items with the highest scores of each row, best first, int32 [B, R], and their scores.

    score: int32 [I] items -> [B, I] scores; seen, items: as in `make_shortlist`; count: R
    Of equal items the smaller id comes first. 0, and -inf, where fewer items are left.
    """
    rows = jnp.arange(len(seen))[:, None]

    def step(
        best: tuple[jax.Array, jax.Array], chunk: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        place = seen - chunk[0]  # ids of a chunk are consecutive
        inside = (seen > 0) & (place >= 0) & (place < len(chunk))
        place = jnp.where(inside, place, len(chunk))
        scores = jnp.where(chunk > 0, score_chunk(score, chunk, len(seen)), -jnp.inf)
        scores = scores.at[rows, place].set(-jnp.inf, mode="drop")
        scores = jnp.concatenate([best[0], scores], axis=1)
        ids = jnp.concatenate([best[1], jnp.broadcast_to(chunk, (len(seen), len(chunk)))], axis=1)
        top, column = lax.top_k(scores, count)
        return (top, jnp.take_along_axis(ids, column, axis=1)), None

    shape = (len(seen), count)
    start = (jnp.full(shape, -jnp.inf, jnp.float32), jnp.zeros(shape, jnp.int32))
    (top, ids), _ = lax.scan(step, start, jnp.asarray(items))
    return jnp.where(top > -jnp.inf, ids, 0), top
