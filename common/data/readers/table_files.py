"""The files of tables, of any kind that is read, with what is wrong in them.

Rows count from 1, the first row below the header; in JSON lines they are lines. Shapes: [n] rows
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.bounds import LONGEST_LIST, LONGEST_VALUE, MOST_COLUMNS
from common.data.readers.csv_quotes import LineBreaks
from common.data.readers.csv_tables import read_csv
from common.data.readers.json_tables import read_jsonl
from common.data.readers.parquet_tables import read_parquet
from common.data.readers.raw_tables import RawTable, RowPlaces
from common.data.readers.table_faults import (
    SHOWN,
    Faults,
    count_rows,
    show_names,
    show_value,
    tell_wide,
)
from common.data.readers.table_forms import find_broken_texts, is_list, simplify
from common.data.readers.table_options import Renamed
from common.data.readers.table_places import find_suffix
from common.errors import InputError

_NEAR = 40  # unknown columns that are compared with the known ones, by likeness of length
_AS_THEY_ARE = Renamed()


class TableForm(NamedTuple):
    """Which columns one table may have."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()  # those whose values may hold line breaks
    prose: bool = False  # texts are sentences, with commas of their own


@dataclass(frozen=True)
class SourceTable:
    """A table as it was read, with the file it came from."""

    path: Path
    rows: int
    table: pa.Table  # the known columns, each in a form of `table_forms`
    faults: Faults
    ignored: tuple[str, ...] = ()  # columns that no one asked for
    names: Mapping[str, str] = field(default_factory=dict)  # of known columns in the file
    places: RowPlaces | None = None
    partial: bool = False  # rows were left out, as faults tell
    kinds: Mapping[str, pa.DataType] = field(default_factory=dict)  # types in the file
    broken: set[str] = field(default_factory=set)  # columns that cannot be read

    def __contains__(self, column: str) -> bool:
        return column in self.table.column_names

    def __len__(self) -> int:
        return self.rows

    def can_read(self, column: str) -> bool:
        """Whether the column is there and of a type that is read."""
        return column in self and column not in self.broken

    def column(self, name: str) -> pa.ChunkedArray:
        """A column in the form of `table_forms`."""
        return self.table[name]

    def name(self, column: str) -> str:
        """What messages call a column: as its file does."""
        return show_names([self.names.get(column, column)])

    def tell(
        self,
        bad: np.ndarray | pa.Array | pa.ChunkedArray,
        column: str,
        what: str,
        mend: str,
        *,
        values: pa.Array | np.ndarray | None = None,
        rows: np.ndarray | None = None,
        counted: tuple[int, str] | None = None,
    ) -> np.ndarray:
        """Tells of the rows where `bad` is true: how many, and the first five.

        bad:     bool [n], or [x] of the entries of lists; null is false
        what:    what is wrong with the first; `{}` is its value
        values:  [n] or [x], those that are shown; else the column's
        rows:    int64 [x] ascending, the row of each entry
        counted: how many there are, and of what, if not rows
        Returns `bad` as bool numpy array.
        """
        if not isinstance(bad, np.ndarray):
            bad = np.asarray(pc.fill_null(bad, False))
        found = np.flatnonzero(bad)
        if not len(found):
            return bad
        at = found if rows is None else rows[found]
        shown = self.column(column) if values is None else values
        has_value = "{}" in what
        examples: list[str] = []
        for row, entry in zip(at[:SHOWN].tolist(), found[:SHOWN].tolist(), strict=True):
            path, number = self.find_row(row)
            value = _show(shown, entry) if has_value else ""
            if not examples:
                where = f"{path}, row {number}, column {self.name(column)}"
                line, first = f"{where}: {what.replace('{}', value)}; {mend}", path
            place = str(number) if path == first else f"{path.name}:{number}"
            examples.append(f"{place} {value}".rstrip())
        count, unit = counted or (len(np.unique(at)), "rows")
        self.faults.tell(line + count_rows(count, unit, examples))
        return bad

    def tell_type(self, column: str, what: str) -> None:
        """Tells that a column has a type that is not read; it counts as broken from now on."""
        if column not in self.broken:
            self.broken.add(column)
            where = f"{self.path}, column {self.name(column)}"
            self.faults.tell(f"{where}: has type {self.kinds[column]}; {what}, convert it")

    def find_row(self, row: int) -> tuple[Path, int]:
        """The file and the number there of a row, from 0."""
        return (self.places or RowPlaces(self.path)).find(row)


def open_table(
    path: Path,
    columns: TableForm,
    faults: Faults,
    notes: list[str],
    renamed: Renamed = _AS_THEY_ARE,
) -> SourceTable | None:
    """Reads the known columns of a file, or of a folder of Parquet files.

    faults:  told of a file that is missing or damaged, and of columns that are missing, stand
             twice or look like a misspelt one
    notes:   told of columns that are not read
    renamed: the names that the file has for known columns
    Returns None where there is nothing to read.
    """
    known = (*columns.required, *columns.optional)
    candidates = {renamed.names.get(column, column): column for column in known}
    candidates |= {column: column for column in known if column not in candidates}
    before = len(faults.lines)
    try:
        raw = _read(path, columns, candidates, faults, notes)
    except InputError as error:
        faults.tell(str(error))
        return None
    if raw is None:
        return None
    if len(raw.names) > MOST_COLUMNS:
        tell_wide(path, len(raw.names), faults)
        return None
    partial = len(faults.lines) > before
    wanted = {_pick_name(column, renamed, raw.names): column for column in known}
    ignored = _check_names(path, raw.names, wanted, columns.required, renamed.own, faults)
    if ignored:
        notes.append(f"{path.name}: columns not read: {show_names(ignored, 200)}")
    present = [name for name in dict.fromkeys(raw.table.column_names) if name in wanted]
    table = raw.table.select(present).rename_columns([wanted[name] for name in present])
    names = {column: name for name, column in wanted.items()}
    kinds = dict(zip(table.column_names, table.schema.types, strict=True))
    twice = {wanted[name] for name in wanted if raw.names.count(name) > 1}
    source = SourceTable(
        path,
        len(raw.table),
        table,
        faults,
        tuple(ignored),
        names,
        raw.places,
        partial,
        kinds,
        twice,
    )
    arrays = {
        column: _simplify_column(source, column, raw.damaged) for column in table.column_names
    }
    return replace(source, table=pa.table(arrays))


def _pick_name(column: str, renamed: Renamed, names: Sequence[str]) -> str:
    """The name of a known column in a file: the one given, unless only its own is there."""
    name = renamed.names.get(column, column)
    return name if column in renamed.own or name in names or column not in names else column


def _read(
    path: Path,
    columns: TableForm,
    wanted: Mapping[str, str],
    faults: Faults,
    notes: list[str],
) -> RawTable | None:
    suffix = (find_suffix(path) or "").removesuffix(".gz")
    if suffix == ".parquet":
        return read_parquet(path, wanted, faults)
    if suffix == ".jsonl":
        return read_jsonl(path, wanted, faults)
    never = {name for name, column in wanted.items() if column not in columns.texts}

    def breaks(names: Sequence[str]) -> LineBreaks:
        return LineBreaks(names, never, columns.prose)

    return read_csv(path, "\t" if suffix == ".tsv" else ",", wanted, breaks, faults, notes)


def _check_names(
    path: Path,
    names: Sequence[str],
    wanted: Mapping[str, str],
    required: Sequence[str],
    forced: Collection[str],
    faults: Faults,
) -> list[str]:
    """Tells of columns that are missing, stand twice or are misspelt; returns the unknown ones."""
    seen: set[str] = set()
    for name in names:
        if name in wanted and name in seen:
            faults.tell(f"{path}, column {name}: stands twice; rename or remove one")
        seen.add(name)
    others = [name for name in dict.fromkeys(names) if name not in wanted]
    missing = []
    for name, column in wanted.items():
        if name in seen:
            continue
        near = _find_similar(name, others)
        if column in required or column in forced:
            if near:
                faults.tell(f"{path}, column {name}: missing; did you mean {near}?")
            else:
                missing.append(name)
        elif near:
            faults.tell(f"{path}, column {near}: not known, did you mean {name}? rename it")
    if missing:
        also = f" (nor is there {', '.join(missing[1:])})" if missing[1:] else ""
        hint = f"the file has {show_names(names)}"
        faults.tell(f"{path}, column {missing[0]}: missing; {hint}{also}")
    return others


def _simplify_column(source: SourceTable, column: str, damaged: bool) -> pa.ChunkedArray:
    """The column in a form of `table_forms`; texts that are not UTF-8 are told.

    damaged: texts hold U+FFFD instead of what is not UTF-8
    """
    array = source.table[column]
    bad = find_broken_texts(array)
    if damaged and pa.types.is_string(array.type):
        bad |= np.asarray(pc.fill_null(pc.match_substring(array, "\ufffd"), False))
    if bad.any():
        source.broken.add(column)
        where = "is no CSV ({} is not UTF-8)" if damaged else "is not UTF-8"
        source.tell(bad, column, where, "save it as UTF-8", values=array)
        return array
    try:
        simple = simplify(array)
    except pa.ArrowException as error:
        source.tell_type(column, f"which cannot be read here ({str(error)[:60]})")
        return array
    _tell_long(source, column, simple)
    return simple


def _tell_long(source: SourceTable, column: str, values: pa.ChunkedArray) -> None:
    """Tells of texts and lists that are too long; their column is not looked at any further."""
    if pa.types.is_string(values.type):
        sizes, most, what = pc.binary_length(values), LONGEST_VALUE, "is longer than {:,} bytes"
    elif is_list(values.type):
        sizes, most, what = pc.list_value_length(values), LONGEST_LIST, "has more than {:,} entries"
    else:
        return
    too_long = pc.greater(sizes, most)
    if pc.any(too_long).as_py():
        source.broken.add(column)
        source.tell(too_long, column, what.format(most), "shorten it", values=values)


def _show(values: pa.Array | pa.ChunkedArray | np.ndarray, entry: int) -> str:
    """A value as messages show it."""
    value = values[entry]
    if not isinstance(value, pa.Scalar):
        return show_value(value.item() if isinstance(value, np.generic) else value)
    try:
        shown = value.as_py()
    except (ValueError, OverflowError):  # a time beyond those that Python knows
        return show_value(value.value)
    return show_value(shown.isoformat() if isinstance(shown, datetime.date) else shown)


def _find_similar(name: str, others: Sequence[str]) -> str | None:
    near_length = sorted(others, key=lambda other: abs(len(other) - len(name)))[:_NEAR]
    lower = {other.lower().strip(): other for other in near_length}
    near = difflib.get_close_matches(name.lower(), lower, 1, cutoff=0.7)
    return lower[near[0]] if near else None
