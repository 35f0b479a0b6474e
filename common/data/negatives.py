"""Training negatives: drawn anew each epoch, a function of (seed, row, epoch) and nothing else.

Draws 0, 1, 2, ... of a row are taken in order; one is accepted if it is not the positive, not yet
in the row's list, and not a TRAIN positive of the user in either service. What the user takes
later, in valid or test, may be drawn: leaving it out would tell the model the answers.

Shapes: [B] rows  [n] negatives per row  [P] rows that still need some  [W] draws of a block
"""

from __future__ import annotations

import numpy as np

from common.data.dataset import Dataset
from common.data.events import TASKS, RecEvents, SearchEvents
from common.data.hashing import NEGATIVES, TASK_STREAM, draw_uniform
from common.data.timeline import expand_ranges
from common.errors import InputError

SAMPLINGS = ("popularity", "uniform", "mixed")
POPULARITY_SHARE, UNIFORM_SHARE = 0.5, 0.25  # of mixed draws; the rest is of the same category

_EPOCH_STRIDE = 2**32  # draws of an epoch start here times the epoch; far more than are ever used


class TrainingNegatives:
    """Draws the negatives of one task's training rows.

    A row gets `sampling` draws first, then uniform ones, at most 64 + 8 n of each kind. If the
    catalogue leaves too few items even then (a user who took nearly all of it), the places left
    are filled with uniform draws that may repeat an item or be one of the user's, but never the
    positive: a batch does not fail in the middle of a run.
    Source: ours; four popularity draws per positive as in UniSAR and LCR.
    """

    def __init__(self, dataset: Dataset, task: str, sampling: str, seed: int) -> None:
        """Counts the popularity of items over the task's train positives.

        sampling: "popularity" (proportional to those counts), "uniform" over the catalogue, or
            "mixed": each draw is of popularity (1/2), uniform (1/4), or uniform over the leaf
            category of the row's positive (1/4; of popularity where that has no other item)
        Raises InputError for an unknown sampling or a catalogue of fewer than two items.
        """
        if sampling not in SAMPLINGS:
            raise InputError(
                f"negative_sampling {sampling!r}: unknown; use one of {', '.join(SAMPLINGS)}"
            )
        if dataset.n_items < 2:
            raise InputError(
                f"items.parquet: {dataset.n_items} item(s) leave no negative; use a larger dataset"
            )
        self._n_items, self._seed = dataset.n_items, seed
        self._stream = TASK_STREAM[task] + NEGATIVES
        positives = dataset.events(task).target[dataset.rows[task, "train"]]
        # One entry per positive, so a draw is a look-up: the inverse of the cumulative counts.
        self._pool = np.empty(0, np.int32) if sampling == "uniform" else np.sort(positives)
        self._mates = CategoryMates(dataset.item_categories) if sampling == "mixed" else None
        users, items = train_items(dataset)
        self._taken = KeySet(users * np.int64(dataset.n_items + 1) + items)

    def draw(
        self, rows: np.ndarray, users: np.ndarray, positives: np.ndarray, epoch: int, count: int
    ) -> np.ndarray:
        """Negatives of rows in an epoch.

        rows: int64 [B], row numbers; users, positives: int32 [B]; count: n
        Returns int32 [B, n].
        """
        lists = np.zeros((len(rows), count), np.int32)
        if count == 0:
            return lists
        filled = np.zeros(len(rows), np.int64)
        pending = np.arange(len(rows))
        limit = 64 + 8 * count
        first = 0
        while len(pending) and first < 2 * limit:
            # The result does not depend on the width: draws are accepted in order, one by one.
            width = count if first == 0 else min(2 * count, 2 * limit - first)
            draws = first + np.arange(width)
            item = self._draw_items(
                rows[pending], positives[pending], epoch, draws, from_pool=draws < limit
            )
            fresh = self._is_fresh(item, users[pending], positives[pending])
            fresh &= ~_mark_repeats(lists[pending], item)
            place = filled[pending, None] + np.cumsum(fresh, axis=1) - 1
            line, column = np.nonzero(fresh & (place < count))
            lists[pending[line], place[line, column]] = item[line, column]
            filled[pending] = np.minimum(place[:, -1] + 1, count)
            pending = pending[filled[pending] < count]
            first += width
        if len(pending):
            self._fill_up(lists, filled, pending, rows, positives, epoch, 2 * limit)
        return lists

    def _draw_items(
        self,
        rows: np.ndarray,
        positives: np.ndarray,
        epoch: int,
        draws: np.ndarray,
        from_pool: np.ndarray,
    ) -> np.ndarray:
        """int32 [P, W]: the items of some draws; from_pool: bool [W], else uniform."""
        u = draw_uniform(self._seed, self._stream, rows[:, None], epoch * _EPOCH_STRIDE + draws)
        if not len(self._pool):
            return (u * self._n_items).astype(np.int32) + np.int32(1)
        if self._mates is not None:
            item = self._draw_mixed(positives, u)
        else:
            item = self._pool[(u * len(self._pool)).astype(np.int64)]
        if not from_pool.all():
            uniform = (u * self._n_items).astype(np.int32) + np.int32(1)
            item = np.where(from_pool, item, uniform)
        return item

    def _draw_mixed(self, positives: np.ndarray, u: np.ndarray) -> np.ndarray:
        """int32 [P, W]: one uniform number picks the source of a draw and the item from it."""
        assert self._mates is not None
        popular, other = POPULARITY_SHARE, POPULARITY_SHARE + UNIFORM_SHARE
        low = np.where(u < popular, 0.0, np.where(u < other, popular, other))
        high = np.where(u < popular, popular, np.where(u < other, other, 1.0))
        rest = (u - low) / (high - low)  # again uniform in [0, 1)
        item = self._pool[(rest * len(self._pool)).astype(np.int64)]
        item = np.where(low == popular, (rest * self._n_items).astype(np.int32) + 1, item)
        mate = self._mates.draw(positives, rest)
        return np.where((low == other) & (mate > 0), mate, item).astype(np.int32)

    def _is_fresh(self, item: np.ndarray, users: np.ndarray, positives: np.ndarray) -> np.ndarray:
        """bool [P, W]: neither the positive nor a train positive of the user."""
        key = users.astype(np.int64)[:, None] * (self._n_items + 1) + item
        return ~self._taken.holds(key) & (item != positives[:, None])

    def _fill_up(
        self,
        lists: np.ndarray,
        filled: np.ndarray,
        pending: np.ndarray,
        rows: np.ndarray,
        positives: np.ndarray,
        epoch: int,
        first: int,
    ) -> None:
        """Fills the places left with any item but the positive."""
        draws = epoch * _EPOCH_STRIDE + first + np.arange(lists.shape[1])
        u = draw_uniform(self._seed, self._stream, rows[pending, None], draws)
        item = 1 + (u * (self._n_items - 1)).astype(np.int32)
        item += item >= positives[pending, None]
        empty = np.arange(lists.shape[1]) >= filled[pending, None]
        lists[pending] = np.where(empty, item, lists[pending])


def log_draw_shares(dataset: Dataset, task: str, sampling: str) -> np.ndarray:
    """float32 [I + 1]: log of the probability with which `TrainingNegatives` draws each item.

    Refused draws are not counted. An item without a training event still needs a finite log: it
    counts as half an event.
    Raises InputError for "mixed", where the probability is another one for every positive.
    """
    if sampling not in SAMPLINGS[:2]:
        raise InputError(
            f"negative_sampling {sampling!r}: no one probability per item, which this loss needs; "
            f"use {' or '.join(SAMPLINGS[:2])}"
        )
    targets = dataset.events(task).target[dataset.rows[task, "train"]]
    counts = np.bincount(targets, minlength=dataset.n_items + 1).astype(np.float64)
    if sampling == "uniform":
        counts[:] = 1.0
    counts[0] = 0.0
    return np.log(np.maximum(counts, 0.5) / max(counts.sum(), 1.0)).astype(np.float32)


class CategoryMates:
    """The other items of an item's leaf category: its category at the deepest level it has one."""

    def __init__(self, categories: np.ndarray) -> None:
        """categories: int32 [I + 1, levels], ids per level, 0 = none."""
        levels = categories.shape[1]
        depth = np.where(categories > 0, np.arange(1, levels + 1), 0).max(axis=1, initial=0)
        deepest = np.maximum(depth - 1, 0)
        leaf = np.take_along_axis(categories, deepest[:, None], axis=1)[:, 0].astype(np.int64)
        leaf = leaf * (levels + 1) + depth  # ids repeat on other levels
        self._order = np.argsort(leaf, kind="stable").astype(np.int32)
        _, start, group, size = np.unique(
            leaf[self._order], return_index=True, return_inverse=True, return_counts=True
        )
        # Place of each item in that order, and where its category begins and how long it is.
        self._place = np.argsort(self._order)
        self._start = start[group][self._place]
        self._size = np.where(depth > 0, size[group][self._place], 1)

    def draw(self, items: np.ndarray, u: np.ndarray) -> np.ndarray:
        """int32 [P, W]: a mate of each item, never itself; 0 where it has none.

        items: int32 [P]; u: float64 [P, W] in [0, 1)
        """
        others = self._size[items, None] - 1
        place = self._start[items, None] + (u * others).astype(np.int64)
        place += place >= self._place[items, None]
        return np.where(others > 0, self._order.take(place, mode="clip"), 0).astype(np.int32)


class KeySet:
    """A set of int64 keys that answers for whole arrays at once.

    A table of one byte per hash value, about 6 % full, answers most questions with one look-up;
    only keys whose byte is set are looked for by bisection, which is ten times slower.
    """

    def __init__(self, keys: np.ndarray) -> None:
        """keys: int64 [k], in any order, repeats allowed."""
        self._keys = np.unique(keys)
        bits = max(10, (16 * len(self._keys)).bit_length() - 1)
        self._shift = np.uint64(64 - bits)
        self._seen = np.zeros(2**bits, bool)
        self._seen[self._hash(self._keys)] = True

    def holds(self, keys: np.ndarray) -> np.ndarray:
        """bool, shape of keys (int64): which of them are in the set."""
        found = self._seen[self._hash(keys)]
        maybe = keys[found]
        place = np.searchsorted(self._keys, maybe)
        found[found] = self._keys[np.minimum(place, len(self._keys) - 1)] == maybe
        return found

    def _hash(self, keys: np.ndarray) -> np.ndarray:
        # Fibonacci hashing: the top bits of key * 2^64 / golden ratio.
        return (keys.view(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> self._shift


def train_items(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Users and items (int64, int32, one entry per event) of the train rows of both services.

    All clicked items of a train search count, not only its target.
    """
    users, items = [], []
    for task in TASKS:
        rows = dataset.rows[task, "train"]
        entry, item = row_items(dataset.events(task), rows)
        users.append(dataset.events(task).user[rows][entry].astype(np.int64))
        items.append(item)
    return np.concatenate(users), np.concatenate(items)


def row_items(events: RecEvents | SearchEvents, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The items that rows took: the item of a rec event, all clicked items of a search.

    rows: int64 [n]. Returns entry int64 (which of the n rows) and items int32, one per item.
    """
    if isinstance(events, RecEvents):
        return np.arange(len(rows)), events.item[rows]
    start = events.click_off[rows]
    size = events.click_off[np.asarray(rows) + 1] - start
    return np.repeat(np.arange(len(rows)), size), events.click_item[expand_ranges(start, size)]


def _mark_repeats(lists: np.ndarray, item: np.ndarray) -> np.ndarray:
    """bool [P, W]: the item is in the row's list, or an earlier draw of the block.

    An earlier equal draw marks a later one even if it was refused, which is right: the reasons
    to refuse an item are the same for both.
    """
    n, width = lists.shape[1], lists.shape[1] + item.shape[1]
    bits = width.bit_length()
    packed = (np.concatenate([lists, item], axis=1).astype(np.int64) << bits) + np.arange(width)
    packed.sort(axis=1)
    sorted_item = packed >> bits
    line, before = np.nonzero(sorted_item[:, 1:] == sorted_item[:, :-1])
    repeated = np.zeros((len(item), width), bool)
    repeated[line, packed[line, before + 1] & (2**bits - 1)] = True
    return repeated[:, n:]
