"""Item-kNN: items whose buyers are those of the user's last items. Nothing is trained.

    sim(i, j) = |U_i and U_j| / sqrt(|U_i| |U_j|)    U_i: users with a training event on item i
    score(i)  = sum of sim(i, j) * decay^recency     over the last `window` events j of the user

Each item j passes its similarity on to its `neighbours` most similar items only. Items that are
no neighbour of any of these events all score 0, so most ranks are tied: the metrics take the
mean over the orders of a tie.

Shapes: [B] batch  [C] candidates  [n] catalogue items  [I] items + 1  [L] neighbours  [w] window
Source: cosine item-based collaborative filtering, Sarwar et al., WWW 2001, on binary events.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from baselines_jax.settings import ItemKnn
from common.data.dataset import Dataset
from common.data.timeline import expand_ranges
from common.data.view import View, candidate_items
from common.training.task import Task

_BLOCK = 2**24  # pairs of events counted at a time


class Neighbours(NamedTuple):
    """The most similar items of every item."""

    items: np.ndarray  # int32 [I, L], ids ascending in each row; 0 fills up
    similarities: np.ndarray  # float32 [I, L], 0 where there is no neighbour


def build(settings: ItemKnn, dataset: Dataset) -> Task:
    """The task of item-kNN settings."""
    knn = settings.knn
    view = View(
        task="rec",
        rec_length=knn.window,
        search_length=1,  # not read; a batch has at least one slot
        clicks=1,
        min_history=settings.data.min_history,
        negatives=0,
    )
    return Task(
        name="item_knn",
        tasks=("rec",),
        view=view,
        init=partial(_init, dataset, knn.neighbours),
        stages=(),
        score=partial(_score, knn.decay),
        score_catalogue=partial(_score_catalogue, knn.decay),
    )


def find_neighbours(users: np.ndarray, items: np.ndarray, n_items: int, most: int) -> Neighbours:
    """The `most` items with the highest cosine to each item; of equal ones the lowest ids.

    users, items: int [x], events; a repeated (user, item) pair counts once
    L is the largest number of neighbours that any item has, at most `most`. An item is no
    neighbour of itself.
    """
    width = n_items + 1
    pairs = np.unique(users.astype(np.int64) * width + items)
    user, item = pairs // width, pairs % width
    _, first, index, size = np.unique(
        user, return_index=True, return_inverse=True, return_counts=True
    )
    order = np.argsort(item, kind="stable")  # item after item, so that a block holds whole items
    start, size = first[index][order], size[index][order]  # all events of each event's user
    buyers = np.bincount(item, minlength=width)
    ends = np.cumsum(buyers)
    work = np.concatenate([[0], np.cumsum(size)])[ends]  # pairs of events up to each item
    parts, begin = [], 0
    while begin < width:
        before, done = (ends[begin - 1], work[begin - 1]) if begin else (0, 0)
        end = max(int(np.searchsorted(work, done + _BLOCK, side="right")), begin + 1)
        block = slice(before, ends[end - 1])
        own = np.repeat(item[order[block]], size[block])
        near = item[expand_ranges(start[block], size[block])]
        keys, shared = np.unique((own * width + near)[own != near], return_counts=True)
        own, near = keys // width, keys % width
        cosine = shared / np.sqrt((buyers[own] * buyers[near]).astype(np.float64))
        parts.append(_keep_nearest(own, near, cosine, most))
        begin = end
    own, near, place, cosine = (np.concatenate(column) for column in zip(*parts, strict=True))
    shape = (width, int(place.max(initial=0)) + 1)
    table = Neighbours(np.zeros(shape, np.int32), np.zeros(shape, np.float32))
    table.items[own, place], table.similarities[own, place] = near, cosine
    by_id = np.argsort(table.items, axis=1, kind="stable")
    return Neighbours(*(np.take_along_axis(column, by_id, axis=1) for column in table))


def _keep_nearest(
    own: np.ndarray, near: np.ndarray, cosine: np.ndarray, most: int
) -> tuple[np.ndarray, ...]:
    """The first `most` pairs of each item by cosine: own, near, place among them, cosine."""
    order = np.lexsort((near, -cosine, own))
    own = own[order]
    place = np.arange(len(own)) - np.searchsorted(own, own)
    keep = place < most
    return own[keep], near[order][keep], place[keep], cosine[order][keep]


def _init(
    dataset: Dataset, most: int, key: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    del key, batch
    train = dataset.rows["rec", "train"]
    found = find_neighbours(dataset.rec.user[train], dataset.rec.item[train], dataset.n_items, most)
    return {}, {name: jnp.asarray(table) for name, table in found._asdict().items()}


def _weigh(
    decay: float, constants: Mapping[str, jax.Array], batch: Mapping[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Neighbours of the last events int32 [B, w, L], and what each passes on, float32."""
    events, mask = batch["rec_item"], batch["rec_mask"].astype(jnp.int32)
    recency = mask.sum(axis=1, keepdims=True) - 1 - jnp.arange(events.shape[1])
    weight = jnp.where(mask != 0, jnp.float32(decay) ** recency, 0.0)
    return constants["items"][events], constants["similarities"][events] * weight[..., None]


def _score(decay: float, params: Any, constants: Any, batch: Any) -> jax.Array:
    del params
    candidates = candidate_items(batch)
    near, passed = _weigh(decay, constants, batch)
    total = jnp.zeros(candidates.shape, jnp.float32)
    for event in range(near.shape[1]):  # one after the other, as in the full ranking
        ids, values = near[:, event], passed[:, event]
        place = jax.vmap(jnp.searchsorted)(ids, candidates)
        place = jnp.minimum(place, ids.shape[1] - 1)
        hit = jnp.take_along_axis(ids, place, axis=1) == candidates
        total += jnp.where(hit, jnp.take_along_axis(values, place, axis=1), 0.0)
    return jnp.where(candidates != 0, total, -jnp.inf)


def _score_catalogue(
    decay: float, params: Any, constants: Any, batch: Any, items: jax.Array
) -> jax.Array:
    del params
    near, passed = _weigh(decay, constants, batch)
    rows, count = near.shape[0], items.shape[0]
    # Column of each item; what is not asked for goes to one column more, and is cut off.
    column = jnp.full(constants["items"].shape[0], count).at[items].set(jnp.arange(count))
    total = jnp.zeros((rows, count + 1), jnp.float32)
    for event in range(near.shape[1]):  # a sum in a fixed order: equal items tie on any device
        total = total.at[jnp.arange(rows)[:, None], column[near[:, event]]].add(passed[:, event])
    return total[:, column[items]]
