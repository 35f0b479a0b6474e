"""CSV and TSV files, maybe gzipped, as tables of strings."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Sequence
from mmap import mmap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from common.bounds import LONGEST_HEADER, LONGEST_LINE, MOST_COLUMNS
from common.data.readers.csv_quotes import LineBreaks, Stray, blank_quotes, check_quotes
from common.data.readers.raw_tables import RawTable, RowPlaces
from common.data.readers.table_faults import (
    SHOWN,
    Faults,
    count_rows,
    show_names,
    tell_wide,
)
from common.data.readers.text_lines import read_bytes

_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"[\r\n]")
_LONG_ROW = "straddling object"  # pyarrow's words for a row that is longer than its block
_BLOCK = 1 << 24  # bytes; a row that is longer needs a second try


def read_csv(
    path: Path,
    delimiter: str,
    wanted: Collection[str],
    breaks: Callable[[Sequence[str]], LineBreaks],
    faults: Faults,
    notes: list[str],
) -> RawTable | None:
    """The wanted columns as strings, "" where they are empty; None for a file that is no CSV.

    breaks: given the columns, which of them may hold line breaks
    faults: told of stray quotes and of rows with more or fewer values than the header
    notes:  told of values that hold line breaks
    Raises InputError for a file that cannot be read.
    """
    data = read_bytes(path)
    if data[:3] == _BOM:
        data = data[3:]
    damaged = not _is_utf8(data)
    if damaged:  # the values are told when the columns are known
        data = data[:].decode("utf-8", "replace").encode()
    names = _read_header(path, data, delimiter, faults)
    if names is None:
        return None
    quotes = check_quotes(data, delimiter.encode(), breaks(names))
    if quotes.broken:
        notes.append(f"{path.name}: {quotes.broken:,} rows have line breaks in quotes")
    if quotes.stray:
        _tell_quotes(path, names, quotes.stray, faults)
        data = blank_quotes(data, quotes.stray)
    raw = _parse(path, data, delimiter, names, wanted, faults)
    return raw._replace(damaged=damaged) if raw else None


def _is_utf8(data: bytes | bytearray | mmap) -> bool:
    ends = pa.py_buffer(np.array([0, len(data)], np.int64))
    text = pa.Array.from_buffers(pa.large_string(), 1, [None, ends, pa.py_buffer(data)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _read_header(
    path: Path, data: bytes | bytearray | mmap, delimiter: str, faults: Faults
) -> list[str] | None:
    text_bytes = _cut_header(data)
    if len(text_bytes) > LONGEST_HEADER:
        what = f"its header is longer than {LONGEST_HEADER:,} bytes"
        faults.tell(f"{path}: is no CSV ({what}); save it with the names of columns in row 1")
        return None
    try:
        text = text_bytes.decode()
        if "\ufffd" in text:
            raise UnicodeError
        names = next((row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row), [])
    except (UnicodeError, csv.Error) as error:
        reason = "the header is not UTF-8" if isinstance(error, UnicodeError) else str(error)
        faults.tell(f"{path}: is no CSV ({reason}); save it as UTF-8 CSV")
        return None
    if not names:
        faults.tell(f"{path}: is no CSV (it is empty); save it as UTF-8 CSV with a header")
        return None
    if len(names) > MOST_COLUMNS:
        tell_wide(path, len(names), faults)
        return None
    return names


def _cut_header(data: bytes | bytearray | mmap) -> bytes:
    """The first line, which goes on where a name in quotes has a line end; at most one byte more
    than a header may have."""
    head = bytes(data[: LONGEST_HEADER + 1])
    quotes = after = 0
    for line_end in _LINE_END.finditer(head):
        quotes += head.count(b'"', after, line_end.start())
        after = line_end.end()
        if quotes % 2 == 0:
            return head[: line_end.start()]
    return head


def _tell_quotes(path: Path, names: Sequence[str], stray: Sequence[Stray], faults: Faults) -> None:
    for column, what in dict.fromkeys((quote.column, quote.what) for quote in stray):
        same = [quote for quote in stray if (quote.column, quote.what) == (column, what)]
        name = show_names([names[column]]) if column < len(names) else f"number {column + 1}"
        more = count_rows(len(same), "rows", [str(quote.row) for quote in same[:SHOWN]])
        faults.tell(f"{path}, row {same[0].row}, column {name}: {what}{more}")


def _parse(
    path: Path,
    data: bytes | bytearray | mmap,
    delimiter: str,
    names: Sequence[str],
    wanted: Collection[str],
    faults: Faults,
) -> RawTable | None:
    wrong: list[tuple[int, int]] = []  # row and how many values it has

    def leave_out(row: pa.csv.InvalidRow) -> str:
        wrong.append((row.number - 1, row.actual_columns))
        return "skip"

    kept = list(dict.fromkeys(name for name in names if name in wanted)) or [names[0]]

    def parse(block: int) -> pa.Table:
        wrong.clear()
        return pyarrow.csv.read_csv(
            pa.BufferReader(pa.py_buffer(data)),
            # One thread, because only then a row that is left out has a number.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=block),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=delimiter, newlines_in_values=True, invalid_row_handler=leave_out
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=kept,
                column_types=dict.fromkeys(kept, pa.string()),
                strings_can_be_null=False,
                check_utf8=False,  # has been done
            ),
        )

    try:
        try:
            table = parse(_BLOCK)
        except pa.ArrowInvalid as error:
            if _LONG_ROW not in str(error):
                raise
            table = parse(LONGEST_LINE)
    except pa.ArrowException as error:
        if b"\n" not in data[:-1].strip():  # nothing but a header
            empty = pa.table({name: pa.array([], pa.string()) for name in kept})
            return RawTable(empty, names, RowPlaces(path))
        reason = " ".join(str(error).split())[:80]
        if _LONG_ROW in reason:
            reason = f"it has a row of more than {LONGEST_LINE // 2:,} bytes"
        faults.tell(f"{path}: is no CSV ({reason}); save it as UTF-8 CSV")
        return None
    numbers = None
    if wrong:
        row, size = wrong[0]
        examples = [f"{row} with {size}" for row, size in wrong[:SHOWN]]
        faults.tell(
            f"{path}, row {row}: is no CSV ({size} values, the header has {len(names)}); put "
            f"values with separators in quotes{count_rows(len(wrong), 'rows', examples)}"
        )
        left_out = np.array([row for row, _ in wrong]) - 1
        numbers = np.delete(np.arange(1, len(table) + len(wrong) + 1), left_out)
    return RawTable(table, names, RowPlaces(path, numbers))
