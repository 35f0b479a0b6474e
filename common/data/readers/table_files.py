"""Columns of CSV and Parquet files as arrays; what does not fit is named by file, row and column.

Rows count from 1, the first row below the header. Shapes: [n] rows
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from common.data.readers.text_lines import check_source_file
from common.errors import InputError

SUFFIXES = (".csv", ".parquet")
_FILL = "fill it or drop the row"
_SEPARATOR = r"[|\s]+"
_PLACES = re.compile(r"Row #(\d+)")


@dataclass(frozen=True)
class SourceTable:
    """A table as it was read, with the file it came from."""

    path: Path
    table: pa.Table
    ignored: tuple[str, ...]  # columns that no one asked for

    def __contains__(self, column: str) -> bool:
        return column in self.table.column_names

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def stop_at(self, bad: np.ndarray | pa.ChunkedArray, column: str, what: str, mend: str) -> None:
        """Raises InputError at the first row where `bad` is true; `{}` in `what` is the value."""
        bad = np.asarray(bad)
        if bad.any():
            row = int(np.argmax(bad))
            value = repr(self.table[column][row].as_py())
            shown = value if len(value) <= 40 else value[:37] + "..."
            what = what.replace("{}", shown)
            raise InputError(f"{self.path}, row {row + 1}, column {column}: {what}; {mend}")

    def column(self, name: str) -> pa.ChunkedArray:
        """A column without dictionary encoding; large strings as strings."""
        column = self.table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column


def open_table(path: Path, required: Sequence[str], optional: Sequence[str]) -> SourceTable:
    """Reads a .csv or .parquet file and checks the names of its columns.

    Raises InputError for a file that is missing or damaged, and for columns that are missing,
    stand twice or look like a misspelt one.
    """
    check_source_file(path)
    known = (*required, *optional)
    table = _read_csv(path, known) if path.suffix == ".csv" else _read_parquet(path)
    names = table.column_names
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}, column {name}: stands twice; rename or remove one")
    others = [name for name in names if name not in known]
    for column in known:
        if column in names:
            continue
        near = _find_similar(column, others)
        if column in required:
            found = " ".join(", ".join(names).split())[:80]
            hint = f"did you mean {near}?" if near else f"the file has {found}"
            raise InputError(f"{path}, column {column}: missing; {hint}")
        if near:
            raise InputError(f"{path}, column {near}: not known, did you mean {column}? rename it")
    return SourceTable(path, table, tuple(others))


def read_ids(source: SourceTable, column: str) -> pa.Array:
    """Ids as strings; integers are written out. Raises InputError where one is null or empty."""
    values = source.column(column)
    if pa.types.is_integer(values.type):
        values = values.cast(pa.string())
    return _check_texts(source, column, values, "ids are strings or integers")


def read_names(source: SourceTable, column: str) -> pa.Array:
    """Texts that must be there. Raises InputError where one is null or empty."""
    return _check_texts(source, column, source.column(column), "texts are strings")


def read_texts(source: SourceTable, column: str) -> list[str | None]:
    """[n] texts, None where there is none; also where the file has no such column."""
    if column not in source:
        return [None] * len(source)
    values = source.column(column)
    if pa.types.is_null(values.type):
        return [None] * len(source)
    _check_type(source, column, pa.types.is_string(values.type), "texts are strings")
    return [(text or "").strip() or None for text in values.to_pylist()]


def read_paths(source: SourceTable, column: str) -> list[list[str]]:
    """[n] category paths: lists, or texts like "A > B > C"."""
    if column in source and pa.types.is_list(source.column(column).type):
        return [
            [str(name) for name in path or () if name] for path in source.column(column).to_pylist()
        ]
    return [
        [name for part in (text or "").split(">") if (name := part.strip())]
        for text in read_texts(source, column)
    ]


def read_flags(source: SourceTable, column: str) -> np.ndarray:
    """uint8 [n]: 0 or 1, all 1 where the file has no such column."""
    if column not in source:
        return np.ones(len(source), np.uint8)
    values = source.column(column)
    source.stop_at(values.is_null(), column, "is null", _FILL)
    if pa.types.is_string(values.type):
        values = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    else:
        values = values.cast(pa.float64() if pa.types.is_floating(values.type) else pa.int64())
        values = pc.if_else(pc.equal(values, 1), "1", pc.if_else(pc.equal(values, 0), "0", ""))
    one = pc.is_in(values, value_set=pa.array(["1", "true", "1.0"]))
    zero = pc.is_in(values, value_set=pa.array(["0", "false", "0.0"]))
    source.stop_at(pc.invert(pc.or_(one, zero)), column, "{} is neither 0 nor 1", "mend it")
    return np.asarray(one).astype(np.uint8)


def read_integers(source: SourceTable, column: str) -> np.ndarray:
    """int64 [n]; all 0 where the file has no such column."""
    if column not in source:
        return np.zeros(len(source), np.int64)
    values = source.column(column)
    source.stop_at(values.is_null(), column, "is null", _FILL)
    if pa.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        whole = pc.match_substring_regex(values, r"^-?\d{1,18}$")
        source.stop_at(pc.invert(whole), column, "{} is no whole number", "mend it")
    else:
        _check_type(source, column, pa.types.is_integer(values.type), "numbers are whole")
    return np.asarray(values.cast(pa.int64()))


def read_id_lists(source: SourceTable, column: str) -> tuple[np.ndarray, pa.Array]:
    """Lists of ids: lists, or texts separated by blanks or "|"; empty without such a column.

    Returns row int64, ascending, and the id, for every entry of every list.
    """
    if column not in source or pa.types.is_null(source.column(column).type):
        return np.zeros(0, np.int64), pa.array([], pa.string())
    values = source.column(column)
    if pa.types.is_string(values.type):
        lists = pc.split_pattern_regex(pc.fill_null(values, ""), pattern=_SEPARATOR)
    else:
        lists = values
        kind = lists.type.value_type if pa.types.is_list(lists.type) else pa.null()
        fits = pa.types.is_string(kind) or pa.types.is_large_string(kind)
        fits |= pa.types.is_integer(kind)
        _check_type(source, column, fits, "use a list of ids, or a text of ids and blanks")
    row = np.repeat(np.arange(len(source)), pc.fill_null(pc.list_value_length(lists), 0).to_numpy())
    flat = pc.list_flatten(lists)
    bad = np.zeros(len(source), bool)
    bad[row[np.asarray(flat.is_null())]] = True
    source.stop_at(bad, column, "has a null in its list", "remove it")
    flat = flat.cast(pa.string()).combine_chunks()
    full = np.asarray(pc.not_equal(flat, ""))
    return row[full], flat.filter(pa.array(full))


def _read_csv(path: Path, known: Sequence[str]) -> pa.Table:
    """Known columns as strings, "" where they are empty."""
    try:
        table = pyarrow.csv.read_csv(
            path,
            # One thread, because only then an error says which row it is in.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=1 << 24),
            parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(known, pa.string()), strings_can_be_null=False
            ),
        )
        _ = table.column_names  # decodes the header
        return table
    except (pa.ArrowException, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        found = _PLACES.search(reason)
        where = f"{path}, row {int(found[1]) - 1}" if found else str(path)
        reason = reason[found.end() :].lstrip(": ") if found else reason
        raise InputError(f"{where}: is no CSV ({reason[:80]}); save it as UTF-8 CSV") from error


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: cut short or no Parquet file; write it again") from error


def _find_similar(name: str, others: Sequence[str]) -> str | None:
    lower = {other.lower().strip(): other for other in others}
    near = difflib.get_close_matches(name, lower, 1, cutoff=0.7)
    return lower[near[0]] if near else None


def _check_type(source: SourceTable, column: str, fits: bool, what: str) -> None:
    if not fits:
        kind = source.table[column].type
        raise InputError(f"{source.path}, column {column}: has type {kind}; {what}, convert it")


def _check_texts(source: SourceTable, column: str, values: pa.ChunkedArray, what: str) -> pa.Array:
    source.stop_at(values.is_null(), column, "is null", _FILL)
    _check_type(source, column, pa.types.is_string(values.type), what)
    blank = pc.equal(pc.utf8_trim_whitespace(values), "")
    source.stop_at(blank, column, "is empty", _FILL)
    return values.combine_chunks()
