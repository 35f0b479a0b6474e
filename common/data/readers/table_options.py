"""What a user says about the files: other names of columns, a separator, items to add."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from common.errors import InputError


class Renamed(NamedTuple):
    """The names that one file has for known columns."""

    names: Mapping[str, str] = {}  # of known columns
    own: frozenset[str] = frozenset()  # columns whose name was given for this table alone


@dataclass(frozen=True)
class TableOptions:
    """How to read a folder of tables."""

    columns: tuple[str, ...] = ()  # "user=user_id" for all tables, "searches.time=ts" for one
    list_separator: str | None = None  # of text lists, one sign; None = blanks or "|"
    add_missing_items: bool = False  # adds items that only events name, without texts
    click_window: float = 3600.0  # seconds; see `common.data.click_times.settle_clicks`

    def __post_init__(self) -> None:
        sign = self.list_separator
        if sign is not None and (len(sign) != 1 or sign.isalnum() or sign in "\r\n"):
            raise InputError(f"--list_separator={sign}: use one sign, such as ; or ,")
        if not 0 <= self.click_window < math.inf:
            raise InputError(f"--click_window={self.click_window:g}: use seconds, 0 or more")


def read_renames(pairs: Sequence[str], columns: Mapping[str, Sequence[str]]) -> dict[str, Renamed]:
    """Of each table, the names that its file has for known columns.

    pairs:   "user=user_id" or "searches.time=ts"
    columns: the known columns of each table
    Raises InputError for a pair of another form, and for a column or table that is not known.
    """
    names: dict[str, dict[str, str]] = {table: {} for table in columns}
    own: dict[str, set[str]] = {table: set() for table in columns}
    everything = sorted({column for known in columns.values() for column in known})
    for pair in sorted(pairs, key=lambda pair: "." in pair.partition("=")[0]):  # one table's win
        left, equals, name = (part.strip() for part in pair.partition("="))
        table, dot, column = left.rpartition(".")
        if not equals or not name or not column:
            raise InputError(f"--columns={pair}: write NAME=COLUMN, such as user=user_id")
        if dot and table not in columns:
            raise InputError(f"--columns={pair}: no table {table}; use {', '.join(columns)}")
        known = columns[table] if dot else everything
        if column not in known:
            near = difflib.get_close_matches(column, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
            raise InputError(f"--columns={pair}: no column {column} is known; {hint}")
        for place in [table] if dot else [t for t in columns if column in columns[t]]:
            names[place][column] = name
            own[place] |= {column} if dot else set()
    return {table: Renamed(names[table], frozenset(own[table])) for table in columns}
