"""Times of CSV and Parquet columns as milliseconds UTC.

A column holds seconds or milliseconds since 1970, ISO 8601 texts, or Parquet times; all its rows
hold the same. Times without a zone are UTC. Shapes: [n] rows
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.data.readers.table_files import SourceTable
from common.errors import InputError

_MILLISECONDS = 1e11  # as seconds the year 5138, as milliseconds March 1973
_TOO_LARGE = 1e14
_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
_DATE = r"^\d{4}-\d{2}-\d{2}"
_ZONE = r"(Z|[+-]\d{2}:?\d{2})"
_ISO = _DATE + r"([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?" + _ZONE + "?)?$"
_MEND = "give seconds, milliseconds or ISO 8601, the same in all rows"


def read_times(source: SourceTable, column: str) -> np.ndarray:
    """int64 [n], milliseconds UTC.

    Raises InputError naming the first row that is null, no time, or in another unit than row 1.
    """
    values = source.column(column)
    source.stop_at(values.is_null(), column, "is null", "fill it or drop the row")
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        if pa.types.is_date(values.type):
            values = values.cast(pa.timestamp("ms"))
        return np.asarray(
            values.cast(pa.timestamp("ms", values.type.tz), safe=False).cast(pa.int64())
        )
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return _scale(source, column, np.asarray(values))
    if not pa.types.is_string(values.type):
        raise InputError(f"{source.path}, column {column}: has type {values.type}; {_MEND}")
    values = pc.utf8_trim_whitespace(values).combine_chunks()
    is_number = np.asarray(pc.match_substring_regex(values, _NUMBER))
    if not len(values) or not is_number[0]:
        return _parse_iso(source, column, values)
    source.stop_at(~is_number, column, "{} is no number, as row 1 is", _MEND)
    try:
        return _scale(source, column, np.asarray(values.cast(pa.int64())))
    except pa.ArrowInvalid:
        return _scale(source, column, np.asarray(values.cast(pa.float64())))


def _scale(source: SourceTable, column: str, values: np.ndarray) -> np.ndarray:
    """Numbers to milliseconds; their size tells the unit."""
    if values.dtype.kind == "f":
        source.stop_at(~np.isfinite(values), column, "{} is no time", _MEND)
    source.stop_at(values < 0, column, "{} lies before 1970", _MEND)
    source.stop_at(
        values >= _TOO_LARGE, column, "{} is neither seconds nor milliseconds", "convert it"
    )
    large = values >= _MILLISECONDS
    if len(values):
        units = ("seconds", "milliseconds")
        other, first = units[int(not large[0])], units[int(large[0])]
        source.stop_at(
            large != large[0], column, f"{{}} looks like {other}, row 1 like {first}", _MEND
        )
    factor = 1 if large.any() else 1000
    if values.dtype.kind == "f":
        return np.rint(values * factor).astype(np.int64)
    return values.astype(np.int64) * factor


def _parse_iso(source: SourceTable, column: str, values: pa.Array) -> np.ndarray:
    fits = pc.match_substring_regex(values, _ISO)
    source.stop_at(pc.invert(fits), column, "{} is no time", _MEND)
    zoned = np.asarray(pc.match_substring_regex(values, "[T ].*" + _ZONE + "$"))
    times = np.empty(len(values), np.int64)
    for mask, kind in ((~zoned, pa.timestamp("ns")), (zoned, pa.timestamp("ns", "UTC"))):
        texts = values.filter(pa.array(mask))
        wrong = _find_unparsable(texts, kind)
        if wrong is not None:  # a date that does not exist, e.g. 2024-02-30
            bad = np.zeros(len(values), bool)
            bad[np.flatnonzero(mask)[wrong]] = True
            source.stop_at(bad, column, "{} is no time", _MEND)
        times[mask] = np.asarray(texts.cast(kind).cast(pa.int64())) // 1_000_000
    return times


def _find_unparsable(texts: pa.Array, kind: pa.DataType) -> int | None:
    """The first text that cannot be cast, by halving."""
    if _parses(texts, kind):
        return None
    low, high = 0, len(texts)  # the first fault lies in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        if _parses(texts.slice(low, middle - low), kind):
            low = middle
        else:
            high = middle
    return low


def _parses(texts: pa.Array, kind: pa.DataType) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True
