"""L20: a column that tells the target, or the buyer, which no honest column does.

Every column of the tables that a model may be given is asked two things: is its value the answer
itself (`tell_by_value`), and do rows of like values have like answers (`tell_by_neighbour`), so
that a column which only renames the answer is found too. The pairs of column and answer are:

own       a column of the target's own row, e.g. `session`, and the target
before    a column of the user's event right before, in either table, and the target
buyer     a column of the target item, e.g. `brand`, and the user
next      a column of the item taken right before, and the target
user      the user's number or a `feat_` column, and the target

Shapes: [n] targets of a split part  [N] items, ids 1..N  [U] users, ids 1..U
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.data.audit_chance import spread_rows, tell_by_neighbour, tell_by_value
from common.data.audit_faults import Log
from common.data.audit_limits import Measure
from common.data.events import PARTS, TASKS

Rows = Mapping[tuple[str, str], np.ndarray]

# Columns that hold no id, time or text that the log gives on its own account: positions, lists,
# and what the other checks look at.
_EVENTS = {
    "rec": ("request", "actions", "dwell_ms", "dur_ms"),
    "search": ("session", "source", "synthetic_query"),
}
_ITEMS = ("kind", "brand", "author", "cat_1", "cat_2", "cat_3", "cat_4", "created_ms")


class _Column(NamedTuple):
    """A column as numbers that keep its order, NaN where it is null; entry i is that of row i."""

    name: str
    values: np.ndarray  # float64; texts are numbered in their order
    as_item: np.ndarray  # float64: the values, or of texts the item whose raw id they are
    as_user: np.ndarray  # likewise


def measure_columns(log: Log, rows: Rows) -> list[Measure]:
    """How well each column tells the target or the buyer, for every part of both tasks.

    rows: (task, part) -> row numbers of positives
    """
    tables = log.tables
    items, users = (_Names(tables[name]["raw_id"]) for name in ("items", "users"))
    events = {
        task: [_read(tables[task], name, items, users) for name in _EVENTS[task]] for task in TASKS
    }
    of_item = [_pad(_read(tables["items"], name, items, users)) for name in _ITEMS]
    features = [name for name in tables["users"].column_names if name.startswith("feat_")]
    of_user = [_pad(_read(tables["users"], name, items, users)) for name in features]
    numbers = np.arange(log.dataset.n_users + 1, dtype=np.float64)
    of_user.append(_Column("user", numbers, numbers, numbers))
    measures: list[Measure] = []
    for task in TASKS:
        for part in PARTS:
            asked = _Asked(log, task, spread_rows(rows[task, part]), f"{task}_{part}")
            measures += asked.own(events[task], items)
            measures += asked.before(events, items)
            measures += asked.items(of_item, items, users)
            measures += asked.user(of_user, items)
    return measures


class _Names:
    """Raw ids, to find an answer that a column gives as one."""

    def __init__(self, raw: pa.ChunkedArray) -> None:
        self.raw = raw.combine_chunks()
        digits = pc.utf8_is_digit(self.raw).to_numpy(zero_copy_only=False)
        short = pc.less(pc.utf8_length(self.raw), 16).to_numpy(zero_copy_only=False)
        numbers = pc.if_else(pc.and_(digits, short), self.raw, None).cast(pa.float64())
        self.number = np.append(np.nan, numbers.to_numpy(zero_copy_only=False))

    def forms(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each id as its number and as the number that its raw id is, NaN if it is none."""
        return ids.astype(np.float64), self.number[ids]


class _Asked:
    """The targets of one part, and what columns are asked about them."""

    def __init__(self, log: Log, task: str, targets: np.ndarray, where: str) -> None:
        self._log, self._task, self._rows, self._where = log, task, targets, where
        events = log.dataset.events(task)
        self._user = events.user[targets].astype(np.int64)
        self._item = events.target[targets].astype(np.int64)

    def own(self, columns: list[_Column], items: _Names) -> Iterator[Measure]:
        for column in columns:
            x = (column.values[self._rows], column.as_item[self._rows])
            yield from self._ask("own", column.name, x, self._item, items, self._user)

    def before(self, columns: Mapping[str, list[_Column]], items: _Names) -> Iterator[Measure]:
        for service in TASKS:
            row = find_before(self._log, self._task, self._rows, service)
            for column in columns[service]:
                x = (_take(column.values, row), _take(column.as_item, row))
                name = f"{column.name} of the {service} row before"
                yield from self._ask("before", name, x, self._item, items, self._user)

    def items(self, columns: list[_Column], items: _Names, users: _Names) -> Iterator[Measure]:
        row = find_before(self._log, self._task, self._rows, "rec")
        last = np.zeros(len(row), np.int64)
        last[row >= 0] = self._log.dataset.rec.item[row[row >= 0]]  # where there are any
        for column in columns:
            x = (column.values[self._item], column.as_user[self._item])
            yield from self._ask("buyer", f"{column.name} of the target", x, self._user, users,
                                 self._item)  # fmt: skip
            x = (column.values[last], column.as_item[last])
            name = f"{column.name} of the item before"
            yield from self._ask("next", name, x, self._item, items, self._user, last)

    def user(self, columns: list[_Column], items: _Names) -> Iterator[Measure]:
        for column in columns:
            x = (column.values[self._user], column.as_item[self._user])
            yield from self._ask("user", f"{column.name} of the user", x, self._item, items,
                                 self._user)  # fmt: skip

    def _ask(
        self, pair: str, name: str, x: tuple[np.ndarray, np.ndarray], y: np.ndarray, names: _Names,
        *groups: np.ndarray,
    ) -> Iterator[Measure]:  # fmt: skip
        answer = "buyer" if pair == "buyer" else "target"
        for kind, share, verb in (
            ("value", tell_by_value(x[1], *names.forms(y)), "is"),
            ("neighbour", tell_by_neighbour(x[0], y, *groups), "tells"),
        ):
            what = f"{name} {verb} the {answer}"
            yield Measure("L20", f"{pair}/{kind}", self._where, what, share, self._task, self._rows)


def find_before(log: Log, task: str, rows: np.ndarray, service: str) -> np.ndarray:
    """int64 [n]: the event of `service` right before each target, strictly; -1 = there is none.

    rows: int64 [n], row numbers in the task's table
    Events are what histories are made of: every search, and what was taken, not what was shown.
    """
    events = log.dataset.events(service)
    known = np.arange(len(events.user)) if service == "search" else np.flatnonzero(events.positive)
    place = np.searchsorted(log.keys[service][known], log.keys[task][rows]) - 1
    found = place >= 0
    found[found] = events.user[known[place[found]]] == log.dataset.events(task).user[rows[found]]
    before = np.full(len(rows), -1)
    before[found] = known[place[found]]
    return before


def _read(table: pa.Table, name: str, items: _Names, users: _Names) -> _Column:
    """A column as numbers; one without two different values is unknown, for it tells nothing."""
    column = table[name].combine_chunks()
    if pa.types.is_string(column.type):
        distinct = pc.unique(column.drop_null())
        rank = np.empty(len(distinct), np.float64)
        rank[pc.array_sort_indices(distinct).to_numpy()] = np.arange(len(distinct))
        code = pc.index_in(column, value_set=distinct)
        codes = code.fill_null(0).to_numpy()
        null = code.is_null().to_numpy(zero_copy_only=False)
        values = np.where(null, np.nan, rank[codes] if len(rank) else np.nan)
        as_item, as_user = (
            pc.add(pc.index_in(column, value_set=names.raw), 1)
            .cast(pa.float64())
            .to_numpy(zero_copy_only=False)
            for names in (items, users)
        )
        return _Column(name, values, as_item, as_user)
    values = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    known = values[~np.isnan(values)]
    if not len(known) or (known == known[0]).all():
        values = np.full(len(values), np.nan)
    return _Column(name, values, values, values)


def _pad(column: _Column) -> _Column:
    """With an unknown entry in front, so that ids are indexes."""
    return _Column(column.name, *(np.append(np.nan, values) for values in column[1:]))


def _take(values: np.ndarray, row: np.ndarray) -> np.ndarray:
    """The entries of rows; unknown for row -1."""
    return np.where(row >= 0, values[row], np.nan) if len(values) else np.full(len(row), np.nan)
