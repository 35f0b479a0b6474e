"""JSON lines (one object a line), maybe gzipped, as tables."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from common.bounds import DEEPEST, LONGEST_RECORD, check_values
from common.data.readers.raw_tables import RawTable, RowPlaces
from common.data.readers.table_faults import SHOWN, Faults, count_rows
from common.data.readers.text_lines import read_bytes
from common.json_files import is_deeper, make_object

_MEND = "write one JSON object a line"
_KINDS = {str: "text", bool: "true or false", int: "whole number", float: "number", list: "list"}


def read_jsonl(path: Path, wanted: Collection[str], faults: Faults) -> RawTable:
    """The wanted columns; a key that a line lacks is null there. Rows are lines, from 1.

    faults: told of lines that are no JSON object, and of columns with values of several kinds
    Raises InputError for a file that cannot be read.
    """
    names: dict[str, None] = {}
    columns: dict[str, list[Any]] = {}
    numbers: list[int] = []
    wrong: dict[str, list[int]] = {}
    for number, line in enumerate(_split_lines(read_bytes(path, LONGEST_RECORD)), 1):
        if not line.strip():
            continue
        try:
            entry = _read_object(line)
        except (ValueError, RecursionError) as error:
            wrong.setdefault(_explain(error), []).append(number)
            continue
        for name in entry:
            if name not in names:
                names[name] = None
                if name in wanted:
                    columns[name] = [None] * len(numbers)
        for name, values in columns.items():
            values.append(entry.get(name))
        numbers.append(number)
    for what, rows in wrong.items():
        more = count_rows(len(rows), "rows", [str(row) for row in rows[:SHOWN]])
        faults.tell(f"{path}, row {rows[0]}: {what}; {_MEND}{more}")
    places = RowPlaces(path, np.array(numbers, np.int64))
    arrays = {name: _make_column(places, name, column, faults) for name, column in columns.items()}
    table = pa.table(arrays) if arrays else pa.table({"": pa.nulls(len(numbers))})
    return RawTable(table, list(names), places)


def _split_lines(data: Any) -> Any:
    start = 3 if data[:3] == b"\xef\xbb\xbf" else 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        yield data[start:end]
        start = end + 1


def _read_object(line: bytes) -> dict[str, Any]:
    check_values(line)
    entry = json.loads(line, object_pairs_hook=make_object, parse_constant=_refuse)
    if not isinstance(entry, dict):
        raise ValueError("is no JSON object")
    if is_deeper(entry, DEEPEST):
        raise RecursionError
    return entry


def _refuse(name: str) -> None:
    raise ValueError(f"has {name}, which is no JSON")


def _explain(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"is nested deeper than {DEEPEST} levels"
    if isinstance(error, UnicodeError):
        return "is not UTF-8"
    return "is no JSON" if isinstance(error, json.JSONDecodeError) else str(error)


def _make_column(places: RowPlaces, name: str, values: list[Any], faults: Faults) -> pa.Array:
    """The column, all values of one kind (whole numbers and others together are numbers)."""
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {int, float}:
        kinds = {float}
        values = [None if value is None else float(value) for value in values]
    if len(kinds) > 1:
        first = next(type(value) for value in values if value is not None)
        _tell(places, name, values, lambda value: isinstance(value, first), faults,
              f"is another kind of value than {_name(first)}, as the first is")  # fmt: skip
        return pa.nulls(len(values))
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError, UnicodeError):
        _tell(places, name, values, _fits, faults, "is too large, of mixed kinds or no Unicode")
        return pa.nulls(len(values))


def _fits(value: Any) -> bool:
    try:
        pa.array([value])
    except (pa.ArrowException, OverflowError, UnicodeError):
        return False
    return True


def _name(kind: type) -> str:
    return f"a {_KINDS.get(kind, kind.__name__)}"


def _tell(
    places: RowPlaces,
    name: str,
    values: list[Any],
    fits: Callable[[Any], bool],
    faults: Faults,
    what: str,
) -> None:
    rows = [i for i, value in enumerate(values) if value is not None and not fits(value)]
    numbers = [places.find(row)[1] for row in rows[:SHOWN]]
    where = f", row {numbers[0]}" if rows else ""
    more = count_rows(len(rows), "rows", [str(number) for number in numbers])
    faults.tell(f"{places.path}{where}, column {name}: {what}; give all rows one kind{more}")
