"""What an audit says: a fault names the check, the table and the rows; a figure is one line.

Shapes: [R] rows of rec.parquet  [S] rows of search.parquet  [X] clicks of all searches
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from common.data.click_times import order_clicks
from common.data.dataset import Dataset
from common.data.keys import rank_keys
from common.data.schema import VOCABULARIES
from common.printable import cut

EXAMPLES = 3  # rows that a fault names; the rest is counted
_SHOWN = 40  # characters of a raw id
_RAW = {"users": "raw_id", "items": "raw_id", "queries": "text"}


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
    tables: Mapping[str, pa.Table]  # the canonical tables by name; empty where there are none

    def describe(self, task: str, row: int) -> str:
        """A table row in words: "rec row 7 (user 'ann' #3, item 'tea1' #5, ts_ms 100, seq 0)"."""
        events = self.dataset.events(task)
        if not 0 <= row < len(events.user):
            return f"{task} row {row + 1} (not in the table)"
        named = [self.name("users", events.user[row])]
        if task == "search":
            named.append(self.name("queries", self.dataset.search.query[row]))
        item = (self.dataset.rec.item if task == "rec" else self.dataset.search.target)[row]
        named.append(self.name("items", item) if item else "no click")
        when = f"ts_ms {events.ts[row]}, seq {events.seq[row]}"
        return f"{task} row {row + 1} ({', '.join(named)}, {when})"

    def name(self, table: str, number: int) -> str:
        """A dense id with the raw id of the source, for a query its text: "user 'ann' #3".

        table: "users", "items" or "queries"; without a raw id the number stands alone
        """
        known = self.tables[table][_RAW[table]] if table in self.tables else ()
        raw = known[int(number) - 1].as_py() if 1 <= number <= len(known) else None
        shown = cut(repr(raw), _SHOWN) + " " if raw else ""
        return f"{VOCABULARIES[table]} {shown}#{number}"


def read_log(dataset: Dataset, tables: Mapping[str, pa.Table] | None = None) -> Log:
    """Ranks every row of both tables, exposures too, and every click by (user, key).

    tables: the canonical tables, whose raw ids name the rows
    """
    rec, search = dataset.rec, dataset.search
    user = np.concatenate([rec.user, search.user, search.user[search.click_search]])
    ts = np.concatenate([rec.ts, search.ts, search.click_ts])
    seq = np.concatenate([rec.seq, search.seq, order_clicks(rec, search)])
    keys = rank_keys(user, ts, seq, dataset.history_order)
    in_rec, in_search, clicks = np.split(keys, np.cumsum([len(rec.user), len(search.user)]))
    return Log(dataset, {"rec": in_rec, "search": in_search}, clicks, tables or {})


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
