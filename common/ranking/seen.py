"""Items that a full ranking leaves out of a row because its user knows them already.

Kept as id lists, never as a [rows, items] matrix: 20,000 rows x 673,000 items would be 13 GB.

Shapes: [n] rows  [x] filtered items of all rows  [B] batch  [F] padded list length
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.dataset import Dataset
from common.data.negatives import train_items
from common.data.timeline import Timeline, expand_ranges
from common.errors import InputError

FILTERS = ("history", "train", "none")


class Seen(NamedTuple):
    """Filtered items of each row, distinct, ascending, without the row's target."""

    offsets: np.ndarray  # int64 [n + 1]; row i has items[offsets[i]:offsets[i + 1]]
    items: np.ndarray  # int32 [x]

    @property
    def owner(self) -> np.ndarray:
        """int64 [x]: which row (0..n-1) each item belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def find_seen(
    dataset: Dataset, timeline: Timeline, task: str, rows: np.ndarray, filter_seen: str
) -> Seen:
    """The items to leave out of the full ranking of each row.

    rows:        int64 [n], row numbers of the task's table
    filter_seen: "history": items of the row's whole strict history, both services;
                 "train": items of all train rows of the user, both services;
                 "none": nothing
    Raises InputError for another `filter_seen`.
    """
    if filter_seen not in FILTERS:
        raise InputError(f"filter_seen = {filter_seen!r}: no such filter; use {', '.join(FILTERS)}")
    n = len(rows)
    if filter_seen == "none":
        return Seen(np.zeros(n + 1, np.int64), np.zeros(0, np.int32))
    if filter_seen == "history":
        offsets, items = timeline.history_items(task, rows)
        owner = np.repeat(np.arange(n), np.diff(offsets))
    else:
        owner, items = _train_items(dataset, dataset.events(task).user[rows])
    keep = items != dataset.events(task).target[rows][owner]
    width = dataset.n_items + 1
    keys = np.unique(owner[keep] * width + items[keep])
    offsets = np.searchsorted(keys, np.arange(n + 1) * width)
    return Seen(offsets.astype(np.int64), (keys % width).astype(np.int32))


def _train_items(dataset: Dataset, users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Items of the train rows of each user of `users` [n]: owner (0..n-1) and item."""
    user, item = train_items(dataset)
    order = np.argsort(user, kind="stable")
    user, item = user[order], item[order]
    start = np.searchsorted(user, users)
    size = np.searchsorted(user, users, side="right") - start
    return np.repeat(np.arange(len(users)), size), item[expand_ranges(start, size)]


def pad_seen(seen: Seen, begin: int, end: int, batch_size: int) -> np.ndarray:
    """The lists of rows begin..end-1 as int32 [B, F], 0 pads.

    F is 16, 64, 256, 1024, ...: few widths, so few compilations.
    """
    offsets = seen.offsets[begin : end + 1]
    sizes = np.diff(offsets)
    width = 16
    while width < sizes.max(initial=0):
        width *= 4
    padded = np.zeros((batch_size, width), np.int32)
    filled = np.arange(width) < sizes[:, None]
    padded[: len(sizes)][filled] = seen.items[offsets[0] : offsets[-1]]
    return padded
