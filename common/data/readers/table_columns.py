"""Columns of tables as arrays: ids, texts, flags, whole numbers, lists, category paths.

What does not fit is told to the table's faults and replaced: by null, an empty text or 0. So a
result counts only if the faults stayed as they were. Shapes: [n] rows  [x] entries of lists
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.data.readers.table_files import SourceTable
from common.data.readers.table_forms import is_list

SEPARATOR = r"[|\s]+"  # of the ids of a text list
_FILL = "fill it or drop the row"
_ID_TYPES = "ids are strings or integers"
_LISTS = "use a list of ids, or a text of ids and blanks"


def read_ids(source: SourceTable, column: str) -> pa.Array:
    """[n] ids as strings; integers are written out. Told: one that is null or empty."""
    return _read_filled(source, column, _ID_TYPES, integers=True)


def read_names(source: SourceTable, column: str) -> pa.Array:
    """[n] texts that must be there. Told: one that is null or empty."""
    return _read_filled(source, column, "texts are strings", integers=False)


def read_texts(source: SourceTable, column: str) -> list[str | None]:
    """[n] texts, None where there is none; also where the file has no such column."""
    values = source.column(column) if source.can_read(column) else None
    if values is None or pa.types.is_null(values.type):
        return [None] * len(source)
    if not pa.types.is_string(values.type):
        source.tell_type(column, "texts are strings")
        return [None] * len(source)
    return [(text or "").strip() or None for text in values.to_pylist()]


def read_paths(source: SourceTable, column: str, notes: list[str]) -> list[list[str]]:
    """[n] category paths: lists, or texts like "A > B > C".

    Of a list of paths the first is taken; notes is told of how many rows had more.
    """
    kind = source.column(column).type if source.can_read(column) else pa.null()
    if not is_list(kind):
        return [
            [name for part in (text or "").split(">") if (name := part.strip())]
            for text in read_texts(source, column)
        ]
    paths = source.column(column).to_pylist()
    if is_list(kind.value_type):
        more = sum(path is not None and len(path) > 1 for path in paths)
        paths = [path[0] if path else None for path in paths]
        notes.append(
            f"{source.path.name}: {source.name(column)} holds lists of paths; the first of each "
            f"is taken, {more:,} items have more"
        )
        kind = kind.value_type
    if not _is_plain(kind.value_type):
        source.tell_type(column, "a path is a list of names")
        return [[] for _ in paths]
    return [[str(name) for name in path or () if name] for path in paths]


def read_flags(source: SourceTable, column: str) -> np.ndarray:
    """uint8 [n]: 0 or 1, all 1 where the file has no such column. Told: any other value."""
    if not source.can_read(column):
        return np.ones(len(source), np.uint8)
    values, shown = source.column(column), source.column(column)
    source.tell(values.is_null(), column, "is null", _FILL)
    kind = values.type
    if pa.types.is_string(kind):
        values = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = values.cast(pa.int8()) if pa.types.is_boolean(kind) else values
        is_one, is_zero = (pc.equal(values, pa.scalar(n, values.type)) for n in (1, 0))
        values = pc.if_else(is_one, "1", pc.if_else(is_zero, "0", ""))
    elif not pa.types.is_null(kind):
        source.tell_type(column, "it is 0 or 1")
        return np.ones(len(source), np.uint8)
    else:
        return np.ones(len(source), np.uint8)
    one = pc.is_in(values, value_set=pa.array(["1", "true", "1.0"]))
    zero = pc.is_in(values, value_set=pa.array(["0", "false", "0.0"]))
    other = pc.and_(pc.invert(pc.or_(one, zero)), values.is_valid())
    source.tell(other, column, "{} is neither 0 nor 1", "mend it", values=shown)
    return np.asarray(one).astype(np.uint8)


def read_integers(source: SourceTable, column: str) -> np.ndarray:
    """int64 [n]; all 0 where the file has no such column. Told: what is no whole number."""
    nothing = np.zeros(len(source), np.int64)
    if not source.can_read(column):
        return nothing
    values = source.column(column)
    source.tell(values.is_null(), column, "is null", _FILL)
    if pa.types.is_string(values.type):
        values = pc.utf8_trim_whitespace(values)
        whole = pc.match_substring_regex(values, r"^-?\d{1,18}$")
        source.tell(pc.invert(whole), column, "{} is no whole number", "mend it")
        values = pc.if_else(pc.fill_null(whole, False), values, "0")
    elif pa.types.is_uint64(values.type):
        large = pc.greater(values, pa.scalar(np.iinfo(np.int64).max, pa.uint64()))
        source.tell(large, column, "{} is too large", "mend it")
        values = pc.if_else(large, pa.scalar(0, pa.uint64()), values)
    elif pa.types.is_null(values.type):
        return nothing
    elif not pa.types.is_integer(values.type):
        source.tell_type(column, "numbers are whole")
        return nothing
    return np.asarray(pc.fill_null(values.cast(pa.int64()), 0))


def read_id_lists(
    source: SourceTable, column: str, separator: str | None = None
) -> tuple[np.ndarray, pa.Array]:
    """Lists of ids: lists, or texts of ids with separators; empty without such a column.

    separator: one letter; None = blanks or "|"
    Returns row int64 [x], ascending, and the id, for every entry of every list; a null is told.
    """
    row, values = split_lists(source, column, separator, _LISTS)
    kind = values.type
    if pa.types.is_null(kind) and not len(values):
        return np.zeros(0, np.int64), pa.array([], pa.string())
    if pa.types.is_integer(kind) or _is_whole_decimal(kind) or pa.types.is_null(kind):
        values = values.cast(pa.string())
    elif not pa.types.is_string(kind):
        source.tell_type(column, _LISTS)
        return np.zeros(0, np.int64), pa.array([], pa.string())
    source.tell(values.is_null(), column, "has a null in its list", "remove it", rows=row)
    blank = pc.equal(pc.utf8_trim_whitespace(values), "")
    source.tell(blank, column, "has an empty id in its list", "remove it", rows=row)
    return row, values


def split_lists(
    source: SourceTable,
    column: str,
    separator: str | None,
    what: str,
    joined: tuple[str, str] | None = None,
) -> tuple[np.ndarray, pa.Array]:
    """Row int64 [x], ascending, and value of every entry of every list, of whatever type.

    what:   what the column should hold, for the message about one that is no list
    joined: of texts, a pattern and what replaces it before they are split
    """
    nothing = np.zeros(0, np.int64), pa.nulls(0)
    if not source.can_read(column):
        return nothing
    lists = source.column(column)
    is_split = pa.types.is_string(lists.type)
    if is_split:
        if joined:
            lists = pc.replace_substring_regex(lists, *joined)
        lists = _split_texts(lists, separator)
    elif pa.types.is_null(lists.type):
        return nothing
    elif not is_list(lists.type):
        source.tell_type(column, what)
        return nothing
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    row = np.repeat(np.arange(len(source)), lengths)
    values = pc.list_flatten(lists)
    values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if is_split:  # an empty text, and what stands before the first and after the last separator
        full = pc.not_equal(values, "")
        row, values = row[np.asarray(full)], values.filter(full)
    return row, values


def check_separators(
    items: SourceTable, ids: pa.Array, lists: SourceTable, column: str, separator: str | None
) -> None:
    """Tells of item ids that a text list would cut in two, if the column holds text lists.

    ids: [n], of the rows of items
    """
    if column not in ("clicked", "shown") or not lists.can_read(column):
        return
    texts = lists.column(column)
    if not pa.types.is_string(texts.type) or not pc.any(pc.not_equal(texts, "")).as_py():
        return
    if separator is None:
        cut, signs = pc.match_substring_regex(ids, r"[|\s]"), "a blank or |"
    else:
        cut = pc.match_substring(ids, separator)
        cut = pc.or_(cut, pc.not_equal(ids, pc.utf8_trim_whitespace(ids)))
        signs = f"{separator!r} or a blank at an end"
    items.tell(
        cut, "item", f"{{}} holds {signs}, which separates the ids of text lists, as column "
        f"{lists.name(column)} of {lists.path.name} has",
        "write lists in Parquet or JSON lines, or separate them by another sign and give it as "
        "--list_separator",
    )  # fmt: skip


def _split_texts(texts: pa.ChunkedArray, separator: str | None) -> pa.ChunkedArray:
    pattern = SEPARATOR if separator is None else rf"\s*\x{{{ord(separator):x}}}\s*"
    filled = pc.utf8_trim_whitespace(pc.fill_null(texts, ""))
    return pc.split_pattern_regex(filled, pattern=pattern)


def _read_filled(source: SourceTable, column: str, what: str, *, integers: bool) -> pa.Array:
    nothing = pa.nulls(len(source), pa.string())
    if not source.can_read(column):
        return nothing
    values = source.column(column)
    kind = values.type
    if integers and (pa.types.is_integer(kind) or _is_whole_decimal(kind)):
        values = values.cast(pa.string())
    elif not pa.types.is_string(kind) and not pa.types.is_null(kind):
        source.tell_type(column, what)
        return nothing
    source.tell(values.is_null(), column, "is null", _FILL)
    if pa.types.is_null(kind):
        return nothing
    blank = pc.equal(pc.utf8_trim_whitespace(values), "")
    if source.tell(blank, column, "is empty", _FILL).any():
        values = pc.if_else(blank, pa.scalar(None, pa.string()), values)
    return values.combine_chunks()


def _is_whole_decimal(kind: pa.DataType) -> bool:
    return bool(pa.types.is_decimal(kind) and kind.scale == 0)


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind))
