"""What an audit says: a fault names the check, the table and the rows; a figure is one line.

Shapes: [R] rows of rec.parquet  [S] rows of search.parquet  [X] clicks of all searches
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from common.data.click_times import order_clicks
from common.data.dataset import Dataset
from common.data.keys import rank_keys

EXAMPLES = 3  # rows that a fault names; the rest is counted


class Fault(NamedTuple):
    """Something that makes results wrong, found `number` times."""

    check: str  # "F10"
    where: str  # "rec_test"
    what: str
    number: int
    examples: tuple[str, ...]  # at most `EXAMPLES` rows in words


Figure = tuple[str, str]  # name and value of a line that is printed whatever it says


class Found(NamedTuple):
    """What one of the checks that judge a figure says."""

    faults: list[Fault]  # nothing but a leak explains them
    looks: list[Fault]  # a person has to look at them
    figures: list[Figure]


class Log(NamedTuple):
    """The event tables with comparable keys, made from the raw columns alone."""

    dataset: Dataset
    keys: dict[str, np.ndarray]  # task -> int64 [R] or [S]; equal = same user and instant
    clicks: np.ndarray  # int64 [X], the key of each click of a search

    def describe(self, task: str, row: int) -> str:
        """A table row in words: "rec row 7 (user 3, item 5, ts_ms 100, seq 0)"."""
        events = self.dataset.events(task)
        if not 0 <= row < len(events.user):
            return f"{task} row {row + 1} (not in the table)"
        item = (self.dataset.rec.item if task == "rec" else self.dataset.search.target)[row]
        return (
            f"{task} row {row + 1} (user {events.user[row]}, item {item}, "
            f"ts_ms {events.ts[row]}, seq {events.seq[row]})"
        )


def read_log(dataset: Dataset) -> Log:
    """Ranks every row of both tables, exposures too, and every click by (user, key)."""
    rec, search = dataset.rec, dataset.search
    user = np.concatenate([rec.user, search.user, search.user[search.click_search]])
    ts = np.concatenate([rec.ts, search.ts, search.click_ts])
    seq = np.concatenate([rec.seq, search.seq, order_clicks(rec, search)])
    keys = rank_keys(user, ts, seq, dataset.history_order)
    in_rec, in_search, clicks = np.split(keys, np.cumsum([len(rec.user), len(search.user)]))
    return Log(dataset, {"rec": in_rec, "search": in_search}, clicks)


def make_fault(
    check: str, where: str, what: str, number: int, examples: Iterable[str]
) -> list[Fault]:
    """A list of one fault, or of none when the number is 0; takes what it needs of `examples`."""
    if not number:
        return []
    named = [text for text, _ in zip(examples, range(EXAMPLES), strict=False)]
    return [Fault(check, where, what, number, tuple(named))]


def percent(mask: np.ndarray) -> str:
    """How much of a bool array is true: "12 of 48 (25.0 %)"."""
    part, whole = int(np.count_nonzero(mask)), mask.size
    return f"{part:,} of {whole:,}" + (f" ({100 * part / whole:.1f} %)" if whole else "")
