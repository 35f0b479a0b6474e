"""Times of tables as milliseconds UTC.

A column holds seconds or milliseconds since 1970, ISO 8601 texts, or Parquet times; all its rows
hold the same, and the unit is told. Times without a zone are UTC. What is no time is told to the
table's faults and replaced by 0. Shapes: [n] rows  [x] entries of lists
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.data.readers.number_times import scale_numbers
from common.data.readers.table_columns import split_lists
from common.data.readers.table_files import SourceTable
from common.data.readers.time_values import (
    FIRST_YEAR,
    LAST_YEAR,
    MEND,
    WINDOW,
    TimeValues,
    show_span,
)

_NUMBER = r"^[+-]?\d+(\.\d*)?([eE][+-]?\d+)?$"
_DATE = r"^\d{4}-\d{2}-\d{2}"
_ZONE = r"(Z|[+-]\d{2}(:?\d{2})?)"
_ISO = _DATE + r"([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?" + _ZONE + "?)?$"
_DATE_BLANK = r"(\d{4}-\d{2}-\d{2}) (\d{2}:)"
_PER_SECOND = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}
_FILL = "fill it or drop the row"


class Times(NamedTuple):
    """Times of a column."""

    ms: np.ndarray  # int64 [n], milliseconds UTC
    zoned: bool | None = None  # whether they name a zone; None = numbers, which need none


class TimeLists(NamedTuple):
    """Times of a column of lists."""

    row: np.ndarray  # int64 [x], ascending
    ms: np.ndarray  # int64 [x], milliseconds UTC
    given: np.ndarray  # bool [x], False = null
    zoned: bool | None = None


def read_times(source: SourceTable, column: str, notes: list[str]) -> Times:
    """[n] times.

    notes: told of the unit and of the first and last time
    Told to the table's faults: rows that are null or no time, that have another unit or another
    form than row 1, and years that no log is from.
    """
    if not source.can_read(column):
        return Times(np.zeros(len(source), np.int64))
    values = source.column(column).combine_chunks()
    source.tell(values.is_null(), column, "is null", _FILL)
    return _parse(TimeValues(source, column, values), notes)


def read_time_lists(
    source: SourceTable, column: str, separator: str | None, notes: list[str]
) -> TimeLists:
    """Lists of times, by the rules of `read_times`; empty without such a column.

    separator: of text lists, one letter; None = blanks or "|"
    A null in a list is no fault: that time is not given.
    """
    row, values = split_lists(
        source, column, separator, "use a list of times, or a text of times and |",
        joined=(_DATE_BLANK, r"\1T\2"),
    )  # fmt: skip
    given = np.asarray(values.is_valid())
    if pa.types.is_null(values.type):
        return TimeLists(row, np.zeros(len(row), np.int64), given)
    ms, zoned = _parse(TimeValues(source, column, values, row), notes)
    return TimeLists(row, ms, given, zoned)


def read_click_times(
    source: SourceTable,
    clicked: np.ndarray,
    searched: Times,
    separator: str | None,
    notes: list[str],
) -> TimeLists:
    """The times of clicks, one for each clicked item; `row` is `clicked`.

    clicked:  int64 [x] ascending, the row of each clicked item, as `read_id_lists` gives them
    searched: [n], the time of each search
    A row without times gives none. Told: rows with another number of times than of clicked items,
    and clicks before their search.
    """
    found = read_time_lists(source, "click_times", separator, notes)
    nothing = TimeLists(clicked, np.zeros(len(clicked), np.int64), np.zeros(len(clicked), bool))
    if "click_times" not in source:
        return nothing
    sizes, wanted = (np.bincount(row, minlength=len(source)) for row in (found.row, clicked))
    other = (sizes > 0) & (sizes != wanted)
    if other.any():
        first = int(np.argmax(other))
        what = f"has {sizes[first]} times for {wanted[first]} clicked items"
        source.tell(other, "click_times", what, "give one for each, or none")
        return nothing
    if {found.zoned, searched.zoned} == {True, False}:
        what = f"has {'a' if found.zoned else 'no'} zone, column {source.name('time')} has "
        all_rows = np.ones(len(source), bool)
        source.tell(all_rows, "click_times", what + ("none" if found.zoned else "one"), MEND)
    full = sizes[clicked] > 0
    ms, given = nothing.ms, nothing.given
    ms[full], given[full] = found.ms, found.given
    early = given & (ms < searched.ms[clicked]) & (ms != 0)
    source.tell(early, "click_times", "a click lies before its search", "mend one of the times",
                rows=clicked)  # fmt: skip
    return TimeLists(clicked, ms, given, found.zoned)


def _parse(told: TimeValues, notes: list[str]) -> Times:
    values, kind = told.values, told.values.type
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    zoned = None
    if pa.types.is_null(kind):
        return Times(np.zeros(len(values), np.int64))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        ms, unit = _read_timestamps(told, valid)
        zoned = None if pa.types.is_date(kind) else kind.tz is not None
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = np.asarray(pc.fill_null(values, 0))
        ms, unit = scale_numbers(told, numbers, valid)
    elif pa.types.is_string(kind):
        ms, unit, zoned = _read_texts(told)
    else:
        told.source.tell_type(told.column, MEND)
        return Times(np.zeros(len(values), np.int64))
    valid &= (ms >= 0) & (ms < WINDOW[1] * 1000)
    if valid.any():
        name = f"{told.source.path.name}: {told.source.name(told.column)}"
        notes.append(f"{name} is {unit}; {show_span(ms[valid])}")
    return Times(ms, zoned)


def _read_timestamps(told: TimeValues, valid: np.ndarray) -> tuple[np.ndarray, str]:
    kind = told.values.type
    if pa.types.is_date(kind):
        ms = _integers(told.values.cast(pa.timestamp("ms")))
        told.tell_years(ms, 1000, valid, "")
        return ms, "dates"
    times, per_second = _integers(told.values), _PER_SECOND[kind.unit]
    told.tell_years(times, per_second, valid, "")  # before anything is multiplied
    ms = times // (per_second // 1000) if per_second >= 1000 else times % 10**15 * 1000
    zone = "with a zone" if kind.tz else "without a zone, taken as UTC"
    return ms, f"timestamps {zone}"


def _integers(times: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(times.cast(pa.int64()), 0))


def _read_texts(told: TimeValues) -> tuple[np.ndarray, str, bool | None]:
    told = replace(told, values=pc.utf8_trim_whitespace(told.values))
    is_number, is_iso = (
        np.asarray(pc.fill_null(pc.match_substring_regex(told.values, pattern), False))
        for pattern in (_NUMBER, _ISO)
    )
    valid = np.asarray(told.values.is_valid())
    known = is_number | is_iso
    if not known.any():
        told.tell(valid, "{} is no time")
        return np.zeros(len(known), np.int64), "no time", None
    first = int(np.argmax(known))
    rest = np.arange(len(known)) >= first
    told.tell(valid & ~rest, "{} is no time")
    if is_iso[first]:
        told.tell(valid & ~is_iso & rest, "{} is no time")
        return _read_iso(told, is_iso)
    told.tell(valid & ~is_number & rest, f"{{}} is no number, as row {told.number(first)} is")
    ms, unit = _read_number_texts(told, is_number)
    return ms, unit, None


def _read_number_texts(told: TimeValues, is_number: np.ndarray) -> tuple[np.ndarray, str]:
    texts = pc.if_else(pa.array(is_number), told.values, "0")
    try:
        numbers = np.asarray(texts.cast(pa.int64()))
    except pa.ArrowInvalid:
        numbers = np.asarray(texts.cast(pa.float64()))
        powers = np.flatnonzero(np.asarray(pc.match_substring_regex(texts, "[eE]")))
        rounded = np.zeros(len(texts), bool)
        rounded[powers] = [_is_rounded(texts[int(entry)].as_py()) for entry in powers]
        if rounded.sum() > 1:  # alone it may be a whole thousand
            mend = "write all digits"
            is_number = is_number & ~told.tell(rounded, "{} lacks digits before the point", mend)
    return scale_numbers(told, numbers, is_number)


def _is_rounded(text: str) -> bool:
    """Whether digits before the point are not written, as in 1.7e9."""
    digits, _, power = text.lower().partition("e")
    return len(digits.partition(".")[2]) < int(power)


def _read_iso(told: TimeValues, valid: np.ndarray) -> tuple[np.ndarray, str, bool | None]:
    first = int(np.argmax(valid))
    row = told.number(first)
    has_clock = np.asarray(pc.greater(pc.utf8_length(told.values), 10).fill_null(False))
    zoned = pc.match_substring_regex(told.values, "[T ].*" + _ZONE + "$")
    zoned = np.asarray(zoned.fill_null(False))
    for has, what in ((has_clock, "time of day"), (zoned, "zone")):
        here, there = ("no", "one") if has[first] else ("a", "none")
        what = f"{{}} has {here} {what}, row {row} has {there}"
        valid = valid & ~told.tell(valid & (has != has[first]), what)
    years = pc.if_else(pa.array(valid), pc.utf8_slice_codeunits(told.values, 0, 4), "2000")
    years = np.asarray(years.cast(pa.int64()))
    for bad, side in ((years < FIRST_YEAR, f"before {FIRST_YEAR}"),
                      (years > LAST_YEAR, f"after {LAST_YEAR}")):  # fmt: skip
        valid = valid & ~told.tell(bad, f"{{}} lies {side}")
    place = np.flatnonzero(valid)
    texts = told.values.take(pa.array(place))
    kind = pa.timestamp("ns", "UTC" if zoned[first] else None)
    wrong = np.zeros(len(valid), bool)
    wrong[place[_find_unparsable(texts, kind)]] = True
    told.tell(wrong, "{} is no time")  # a date that does not exist, e.g. 2024-02-30
    ms = np.zeros(len(valid), np.int64)
    if not wrong.any():
        ms[place] = np.asarray(texts.cast(kind).cast(pa.int64())) // 1_000_000
    if not has_clock[first]:
        return ms, "dates", None
    zone = "with a zone" if zoned[first] else "without a zone, taken as UTC"
    return ms, f"ISO 8601 {zone}", bool(zoned[first])


def _find_unparsable(texts: pa.Array, kind: pa.DataType, start: int = 0) -> list[int]:
    """The texts that cannot be cast, by halving."""
    try:
        texts.cast(kind)
        return []
    except pa.ArrowInvalid:
        if len(texts) == 1:
            return [start]
    middle = len(texts) // 2
    left = _find_unparsable(texts.slice(0, middle), kind, start)
    return left + _find_unparsable(texts.slice(middle), kind, start + middle)
