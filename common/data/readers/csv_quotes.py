"""Quotes of CSV text that swallow lines: `"harry potter` without an end takes what follows.

A value in quotes ends with a quote before a separator, a line end or the end of the file
(RFC 4180). A quote inside a value without quotes is a letter: 12" disk. Line breaks in a value may
be meant; those that look like swallowed lines are told too.

Shapes: [Q] quotes  [L] line ends inside quotes
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from typing import NamedTuple

import numpy as np

from common.bounds import LONGEST_VALUE

_PART = 1 << 24  # bytes at a time
_QUOTE, _LF, _CR = b'"\n\r'
_QUOTED = re.compile(rb'"[^"]*(?:""[^"]*)*"(?!")')
_LINE_END = re.compile(rb"\r\n|\n|\r")
_LINE = re.compile(rb"[^\r\n]+")
UNCLOSED = 'opens with a quote (") that no quote closes; remove it, or write it twice in quotes'
LOOSE = 'goes on after the quote (") that closes it; remove the quotes, or write those inside twice'
SWALLOWED = (
    'has a quote (") that seems to swallow the lines after it; remove it, or write it twice in '
    "quotes; where line breaks are meant, write blanks or Parquet"
)
ENDLESS = f'opens with a quote (") that none closes in {LONGEST_VALUE:,} bytes; remove it'


class Stray(NamedTuple):
    """A quote that does not belong where it stands."""

    position: int  # byte of the file
    row: int  # from 1, below the header
    column: int  # from 0
    what: str  # what is wrong and how to mend it


class _Record(NamedTuple):
    fields: list[tuple[int, int]]  # first byte and end of each value
    end: int  # the first byte after it, before its line end
    fault: str | None  # of the last field


@dataclass
class Quotes:
    """What the quotes of a file do."""

    stray: list[Stray] = field(default_factory=list)
    broken: int = 0  # values that hold line breaks, as they may


@dataclass(frozen=True)
class LineBreaks:
    """Which columns of a CSV file may hold line breaks."""

    columns: Sequence[str]  # of the file
    never: Collection[str]  # columns of ids, numbers and times
    prose: bool  # the others hold running text, with commas of its own


def check_quotes(data: bytes | bytearray | mmap, delimiter: bytes, breaks: LineBreaks) -> Quotes:
    """Finds stray quotes, and values that hold line breaks.

    data: the file, with its header, without a byte order mark
    Quotes that pair up cost one pass with numpy, other files a look at each quote.
    Source: ours.
    """
    if data.find(b'"') < 0:
        return Quotes()
    paired, inside = _scan(np.frombuffer(data, np.uint8), delimiter[0])
    found, longer = Quotes(), []
    stray: list[tuple[int, Stray]] = []  # with where the record begins
    after = 0
    while (place := _next_place(data, after, inside if paired else None)) >= 0:
        start = max(data.rfind(b"\n", after, place), data.rfind(b"\r", after, place), after - 1) + 1
        record = _parse(data, start, delimiter)
        fault, column = record.fault, len(record.fields) - 1
        long = [i for i, (first, end) in enumerate(record.fields) if end - first > LONGEST_VALUE]
        if long and fault != UNCLOSED:
            fault, column = ENDLESS, long[0]
        elif _LINE_END.search(data, start, record.fields[-1][0] if fault else record.end):
            column = _find_swallowed(data, record, delimiter, breaks)
            fault = None if column < 0 else SWALLOWED
        if fault is None:
            after = record.end + 1
            more = len(_LINE.findall(data[start : record.end])) - 1
            if more:
                longer.append((start, more))
                found.broken += 1
        else:
            first = record.fields[column][0]
            stray.append((start, Stray(first, 0, column, fault)))
            line_end = _LINE_END.search(data, first)
            after = line_end.end() if line_end else len(data)
            paired = False  # without this one, others may not
    rows = _count_rows(data, [start for start, _ in stray], longer)
    found.stray = [quote._replace(row=row) for (_, quote), row in zip(stray, rows, strict=True)]
    return found


def blank_quotes(data: bytes | bytearray | mmap, stray: Sequence[Stray]) -> bytes:
    """The data with blanks for stray quotes, so that what follows can be read and checked."""
    changed = bytearray(data)
    for quote in stray:
        changed[quote.position] = ord(" ")
    return bytes(changed)


def _next_place(data: bytes | bytearray | mmap, after: int, inside: np.ndarray | None) -> int:
    """The first place from `after` on that has to be looked at, or -1: a line end inside quotes, or
    without those any quote."""
    if inside is None:
        return data.find(b'"', after)
    found = int(np.searchsorted(inside, after))
    return int(inside[found]) if found < len(inside) else -1


def _scan(data: np.ndarray, delimiter: int) -> tuple[bool, np.ndarray]:
    """Whether all quotes pair up, and int64 [L], where line ends lie inside quotes."""
    paired, opened, inside = True, 0, []
    for start in range(0, len(data), _PART):
        part = data[start : start + _PART]
        place = np.flatnonzero((part == _QUOTE) | (part == _LF) | (part == _CR))
        is_quote = part[place] == _QUOTE
        count = opened + np.cumsum(is_quote)  # quotes so far
        inside.append(place[~is_quote & (count % 2 == 1)] + start)
        if not len(place):
            continue
        opened = int(count[-1]) % 2
        quotes, opens = place[is_quote] + start, count[is_quote] % 2 == 1
        before = np.where(quotes > 0, data[np.maximum(quotes - 1, 0)], _LF)
        after = np.where(quotes < len(data) - 1, data[np.minimum(quotes + 1, len(data) - 1)], _LF)
        beside = np.where(opens, before, after)
        fits = (beside == delimiter) | (beside == _LF) | (beside == _CR) | (beside == _QUOTE)
        paired &= bool(fits.all())
    return paired and not opened, np.concatenate([np.zeros(0, np.int64), *inside])


def _parse(data: bytes | bytearray | mmap, start: int, delimiter: bytes) -> _Record:
    """One record, as far as it can be read."""
    plain = re.compile(rb"[^\r\n" + re.escape(delimiter) + rb"]*")
    ends = (delimiter[0], _LF, _CR)
    fields: list[tuple[int, int]] = []
    place = start
    while True:
        if place < len(data) and data[place] == _QUOTE:
            value = _QUOTED.match(data, place)
            if value is None:
                return _Record([*fields, (place, len(data))], len(data), UNCLOSED)
            end = value.end()
            if end < len(data) and data[end] not in ends:
                return _Record([*fields, (place, end)], end, LOOSE)
        else:
            found = plain.match(data, place)
            end = found.end() if found else place
        fields.append((place, end))
        if end >= len(data) or data[end] != delimiter[0]:
            return _Record(fields, end, None)
        place = end + 1


def _find_swallowed(
    data: bytes | bytearray | mmap, record: _Record, delimiter: bytes, breaks: LineBreaks
) -> int:
    """The first column of a record whose line breaks seem to be swallowed lines, or -1."""
    more = len(breaks.columns) - 1  # separators of a line
    for column, (first, end) in enumerate(record.fields):
        lines = _LINE_END.split(data[first:end])
        if len(lines) < 2:
            continue
        lines = [lines[0], *filter(None, lines[1:-1]), lines[-1]]
        if record.fault or len(record.fields) != more + 1:
            return column
        if breaks.columns[column] in breaks.never:
            return column
        # The rest of the first row, whole rows, and the beginning of the last row.
        whole = [more - column, *[more] * (len(lines) - 2), column]
        counts = [line.count(delimiter) for line in lines]
        if breaks.prose:  # a text has commas too, but with blanks after them
            spaced = any(delimiter + b" " in line for line in lines)
            swallowed = counts == whole and not spaced
        else:
            swallowed = all(count >= least for count, least in zip(counts, whole, strict=True))
        if swallowed:
            return column
    return -1


def _count_rows(
    data: bytes | bytearray | mmap, starts: Sequence[int], longer: Sequence[tuple[int, int]]
) -> list[int]:
    """The row, from 1, of the records that begin at `starts`, ascending.

    longer: where records of several lines begin, and how many lines more than one they have
    """
    rows, at, lines, done = [], 0, 0, 0
    for start in starts:
        lines += sum(1 for _ in _LINE.finditer(data, at, start))
        while done < len(longer) and longer[done][0] < start:
            lines -= longer[done][1]
            done += 1
        at = start
        rows.append(lines)  # the header is the first of them
    return rows
