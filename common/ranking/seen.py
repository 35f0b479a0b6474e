"""Items that a full ranking leaves out of a row because its user knows them already.

Kept as id lists, never as a [rows, items] matrix: 20,000 rows x 673,000 items would be 13 GB.

Shapes: [n] rows  [x] filtered items of all rows  [B] batch  [F] padded list length
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.dataset import Dataset
from common.data.events import TASKS
from common.data.negatives import train_items
from common.data.timeline import expand_ranges
from common.errors import InputError

FILTERS = ("history", "train", "none")
AUTO = "auto"  # chosen by `choose_filter`
MAX_REPEATS = 0.01  # share of test targets in their own history, above which `AUTO` filters nothing
_BLOCK = 4_096  # rows looked at together


class Repeats(NamedTuple):
    """Whether the target of each row stands in the row's strict history; bool [n] each."""

    bought: np.ndarray  # as an item of a rec event
    clicked: np.ndarray  # as a click of a search

    @property
    def known(self) -> np.ndarray:
        """bool [n]: in either way."""
        return self.bought | self.clicked


def find_repeats(dataset: Dataset, task: str, rows: np.ndarray) -> Repeats:
    """Which rows have a target that their user knows already: a repeat, or a leak of the data.

    rows: int64 [n], row numbers of the task's table
    Source: ours.
    """
    target = dataset.events(task).target[rows]
    found = Repeats(np.zeros(len(rows), bool), np.zeros(len(rows), bool))
    for begin in range(0, len(rows), _BLOCK):
        known = dataset.timeline.known_items(task, rows[begin : begin + _BLOCK])
        own = known.item == target[known.owner + begin]
        found.bought[known.owner[own & ~known.is_click] + begin] = True
        found.clicked[known.owner[own & known.is_click] + begin] = True
    return found


class FilterChoice(NamedTuple):
    """What full rankings of a split leave out, and why."""

    name: str  # one of `FILTERS`
    reason: str
    repeats: dict[str, float]  # task -> share of its test targets that stand in their own history


def choose_filter(dataset: Dataset, asked: str) -> FilterChoice:
    """Settles the filter of a split: one for both tasks, every method, validation and test rows.

    asked: `AUTO` or one of `FILTERS`. A filter of the history keeps the target, so where targets
        repeat it strikes out what competes with them, and "a known item first" wins. `AUTO` is
        therefore "none" where more than `MAX_REPEATS` of the test targets of a task repeat, and
        "history" elsewhere.
    Raises InputError for another `asked`.
    Source: ours.
    """
    if asked not in (AUTO, *FILTERS):
        known = ", ".join((AUTO, *FILTERS))
        raise InputError(f"filter_seen = {asked!r}: no such filter; use one of {known}")
    repeats = {}
    for task in TASKS:
        rows = dataset.rows[task, "test"]
        if len(rows):
            repeats[task] = float(find_repeats(dataset, task, rows).known.mean())
    most = max(repeats, key=repeats.__getitem__, default="")
    share = repeats.get(most, 0.0)
    name = asked
    if asked == AUTO:
        name = "none" if share > MAX_REPEATS else "history"
    found = f"{share:.1%} of {most} test targets stand in their own history"
    if share == 0:
        found = "no test target stands in its own history"
    limit = f"{MAX_REPEATS:.0%}"
    if asked == AUTO:
        reason = f"auto: {found}" + (f", above {limit}" if share > MAX_REPEATS else "")
    elif name != "none" and share > MAX_REPEATS:
        reason = f"as asked; it favours the {found.replace(' stand', ' that stand')}"
    else:
        reason = f"as asked; {found}"
    return FilterChoice(name, reason, repeats)


class Seen(NamedTuple):
    """Filtered items of each row, distinct, ascending, without the row's target."""

    offsets: np.ndarray  # int64 [n + 1]; row i has items[offsets[i]:offsets[i + 1]]
    items: np.ndarray  # int32 [x]

    @property
    def owner(self) -> np.ndarray:
        """int64 [x]: which row (0..n-1) each item belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))


def find_seen(dataset: Dataset, task: str, rows: np.ndarray, filter_seen: str) -> Seen:
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
        offsets, items = dataset.timeline.history_items(task, rows)
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
