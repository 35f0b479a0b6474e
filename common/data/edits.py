"""Evaluation batches with other searches in them: what studies of the evidence feed a model.

Each edit returns a new host batch and leaves the given one alone. Slots stay oldest first with
pads at the end, and recency ranks (`order`) are those of the merged timeline after the edit. A
search that is put in says nothing about the answer: clicks on the row's target are left out.
Every draw depends on (seed, row number) alone, so all models get the same searches.
Source: ours.

Shapes: [B] batch  [M] rec history  [N] searches  [P] clicks per search  [S] searches of all users
        [U] users
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.batches import Batch
from common.data.hashing import INJECT, SWAP, draw_uniform
from common.data.histories import pad_clicks
from common.data.timeline import Timeline
from common.errors import InputError

_PER_DRAW = 2**20  # counters that one draw may use


class SearchPool(NamedTuple):
    """What every search of a dataset says, by row number. Made by `pool_searches`."""

    off: np.ndarray  # int64 [U + 2]; user u has the searches [off[u], off[u + 1])
    query: np.ndarray  # int32 [S]
    click: np.ndarray  # int32 [S, P], 0 pads


def pool_searches(timeline: Timeline, clicks: int) -> SearchPool:
    """The searches of all users, with their first `clicks` clicked items (P)."""
    items = pad_clicks(timeline, timeline.search_click_item, clicks)[1:]
    return SearchPool(timeline.search_off, timeline.search_query, items)


def inject_searches(
    batch: Batch, pool: SearchPool, share: float, *, seed: int = 0, draw: int = 0
) -> Batch:
    """Adds searches of other users; N slots become 2N, so that no real search falls out.

    share: in [0, 1]; a row with n real searches gets ceil(share * n)
    draw:  which of the independent repeats
    Each is drawn from all searches of other users (so queries in proportion to their popularity)
    and gets a time, in whole ms, uniform between the oldest and the newest event of the row. At
    equal times it counts as older than a real event. `search_row` is its own row number.
    Raises ValueError for a share out of range, InputError where nobody else has searches.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share {share}: need 0 <= share <= 1")
    mask = batch["search_mask"] != 0
    slots = mask.shape[1]
    count = np.ceil(share * mask.sum(axis=1) - 1e-9)  # 0.07 * 100 is 7.000000000000001
    added = np.arange(slots) < count[:, None]
    row, user = batch["row"][:, None], batch["user"][:, None]
    counter = draw * _PER_DRAW + 2 * np.arange(slots)
    source = _pick_other(pool, user, draw_uniform(seed, INJECT, row, counter), added)

    real = np.concatenate([batch["rec_mask"] != 0, mask], axis=1)
    ages = np.concatenate([batch["rec_age_ms"], batch["search_age_ms"]], axis=1)
    empty = ~real.any(axis=1, keepdims=True)
    newest = np.where(real | empty, ages, np.iinfo(np.int64).max).min(axis=1, keepdims=True)
    oldest = np.where(real | empty, ages, 0).max(axis=1, keepdims=True)
    when = draw_uniform(seed, INJECT, row, counter + 1)
    age = newest + np.floor(when * (oldest - newest + 1)).astype(np.int64)

    # Ranks: a real event moves back by the added ones that are newer than it.
    newer = (age[:, None, :] < ages[:, :, None]) & added[:, None, :]
    order = batch["order"] + newer.sum(axis=2)
    behind = ((ages[:, None, :] <= age[:, :, None]) & real[:, None, :]).sum(axis=2)
    earlier_slot = np.arange(slots) < np.arange(slots)[:, None]
    before = (age[:, None, :] < age[:, :, None]) | (
        (age[:, None, :] == age[:, :, None]) & earlier_slot
    )
    added_order = behind + (before & added[:, None, :]).sum(axis=2)

    query, click = _read(pool, source, added, batch["target"])
    fields = {
        "search_query": query,
        "search_click": click,
        "search_row": source * added,
        "search_age_ms": age * added,
        "search_mask": added.astype(np.uint8),
    }
    joined = {name: np.concatenate([batch[name], fields[name]], axis=1) for name in fields}
    return _arrange(batch, joined, np.concatenate([order, added_order], axis=1))


def drop_search(batch: Batch, slot: np.ndarray) -> Batch:
    """Takes one search out of each row; what was older moves up by one rank.

    slot: int [B], the slot of a real search; -1 takes nothing out of the row.
    """
    order = batch["order"]
    length = batch["rec_item"].shape[1]
    place = np.where(slot < 0, 0, slot)[:, None]
    rank = np.take_along_axis(order[:, length:], place, axis=1)
    rank = np.where(slot[:, None] < 0, order.shape[1], rank)
    fields = {name: batch[name] for name in _FIELDS}
    gone = np.arange(batch["search_mask"].shape[1]) == slot[:, None]
    fields["search_mask"] = np.where(gone, 0, batch["search_mask"]).astype(np.uint8)
    return _arrange(batch, fields, order - (order > rank))


def swap_searches(batch: Batch, pool: SearchPool, *, seed: int = 0, draw: int = 0) -> Batch:
    """Every row keeps the times of its searches, and gets what another user searched for.

    The other user is drawn at random from those with searches (`draw`: which of the independent
    repeats). The search of age rank a (0 = the
    newest) gets query and clicks of the other's search of age rank a; an other with fewer is read
    round again. `search_row` stays the row's own: weights by slot are compared with the truth
    about the user's own searches, where content that is not theirs can only score by chance.
    Raises InputError where nobody else has searches.
    """
    mask = batch["search_mask"] != 0
    owners = np.flatnonzero(np.diff(pool.off) > 0)
    place = np.searchsorted(owners, batch["user"])
    own = np.isin(batch["user"], owners)
    others = len(owners) - own
    if (mask.any(axis=1) & (others < 1)).any():
        raise _nobody_else()
    pick = np.floor(draw_uniform(seed, SWAP, batch["row"], draw) * others).astype(np.int64)
    pick += own & (pick >= place)
    other = owners[np.minimum(pick, len(owners) - 1)][:, None] if len(owners) else place[:, None]
    age = np.maximum(mask.sum(axis=1, keepdims=True) - 1 - np.arange(mask.shape[1]), 0)
    end = pool.off[other + 1]
    source = end - 1 - age % np.maximum(end - pool.off[other], 1)
    query, click = _read(pool, source, mask, batch["target"])
    return {**batch, "search_query": query, "search_click": click}


def is_injected(batch: Batch, pool: SearchPool) -> np.ndarray:
    """bool [B, N]: the searches of a batch that are another user's."""
    user, row = batch["user"][:, None], batch["search_row"]
    return (batch["search_mask"] != 0) & ((row < pool.off[user]) | (row >= pool.off[user + 1]))


_FIELDS = ("search_query", "search_click", "search_row", "search_age_ms", "search_mask")


def _pick_other(
    pool: SearchPool, user: np.ndarray, uniform: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """Rows of searches of other users, int64; uniform: [B, n] in [0, 1), user: [B, 1]."""
    begin, end = pool.off[user], pool.off[user + 1]
    others = len(pool.query) - (end - begin)
    if (wanted & (others < 1)).any():
        raise _nobody_else()
    pick = np.floor(uniform * others).astype(np.int64)
    return pick + (end - begin) * (pick >= begin)  # step over the user's own range


def _read(
    pool: SearchPool, source: np.ndarray, mask: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Queries int32 [B, N] and clicks int32 [B, N, P] of searches, 0 where the mask is."""
    if not mask.any():
        shape = mask.shape
        return np.zeros(shape, np.int32), np.zeros((*shape, pool.click.shape[1]), np.int32)
    source = source * mask
    click = pool.click[source] * mask[..., None]
    return pool.query[source] * mask, np.where(click == target[:, None, None], 0, click)


def _arrange(batch: Batch, fields: Batch, order: np.ndarray) -> Batch:
    """Puts search slots in order, oldest first, pads at the end and empty.

    fields: the new search fields, T slots each; order: int [B, M + T], right for real events.
    """
    length = batch["rec_item"].shape[1]
    mask = fields["search_mask"] != 0
    pad = order.shape[1]
    rec_order = np.where(batch["rec_mask"] != 0, order[:, :length], pad)
    search_order = np.where(mask, order[:, length:], pad)
    by_age = np.argsort(np.where(mask, -search_order, 1), axis=1, kind="stable")
    moved = {}
    for name, values in fields.items():
        index, kept = by_age, mask
        if values.ndim == 3:
            index, kept = by_age[..., None], mask[..., None]
        moved[name] = np.take_along_axis(values * kept, index, axis=1).astype(batch[name].dtype)
    search_order = np.take_along_axis(search_order, by_age, axis=1)
    order = np.concatenate([rec_order, search_order], axis=1).astype(np.int32)
    return {**batch, **moved, "order": order}


def _nobody_else() -> InputError:
    return InputError(
        "search.parquet: only one user has searches, so there are none of other users to take; "
        "use a dataset with more users"
    )
