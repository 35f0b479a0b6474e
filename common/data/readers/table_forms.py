"""One form for what Parquet writers store in many: texts, lists, dictionaries, decimals.

texts     string           also large_string, string_view
lists     large_list       also list, fixed-size list, list view, large list view
numbers   int64, uint64    also decimals that are whole; float64 for other decimals
codes     their values     dictionaries (categories), also inside lists
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def is_list(kind: pa.DataType) -> bool:
    """Any type of list."""
    return any(
        test(kind)
        for test in (
            pa.types.is_list,
            pa.types.is_large_list,
            pa.types.is_fixed_size_list,
            pa.types.is_list_view,
            pa.types.is_large_list_view,
        )
    )


def is_text(kind: pa.DataType) -> bool:
    """Any type of text."""
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def simplify(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in the form above; other types stay as they are.

    Raises pa.ArrowException where the values do not fit the form.
    """
    if pa.types.is_decimal(column.type):
        return _simplify_decimals(column)
    chunks = column.chunks or [pa.array([], column.type)]
    return pa.chunked_array([_simplify(chunk) for chunk in chunks])


def count_bytes(array: pa.Array) -> int:
    """How many bytes an array has once its dictionaries are written out."""
    if pa.types.is_dictionary(array.type):
        values = array.dictionary
        if is_text(values.type):
            sizes = pc.take(pc.binary_length(values), array.indices)
            return int(pc.sum(sizes).as_py() or 0) + 4 * len(array)
        return 8 * len(array)
    if is_list(array.type):
        return count_bytes(pc.list_flatten(array)) + 4 * len(array)
    return int(array.nbytes)


def find_broken_texts(column: pa.ChunkedArray) -> np.ndarray:
    """bool [n]: rows whose text, or a text in whose list, is no UTF-8. All texts valid: no row."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        whole = [_is_whole(column.slice(row, 1)) for row in range(len(column))]
        return ~np.array(whole, bool)
    return np.zeros(len(column), bool)


def _is_whole(row: pa.ChunkedArray) -> bool:
    try:
        row.combine_chunks().validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _simplify(array: pa.Array) -> pa.Array:
    kind = array.type
    if pa.types.is_dictionary(kind):
        return _simplify(array.dictionary).take(array.indices)
    if is_text(kind):
        return array.cast(pa.string())
    if is_list(kind):
        lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        values = _simplify(pc.list_flatten(array))  # leaves out what lies behind a null
        missing = array.is_null() if array.null_count else None
        return pa.LargeListArray.from_arrays(offsets, values, mask=missing)
    if pa.types.is_float16(kind):
        values = array.to_numpy(zero_copy_only=False).astype(np.float32)
        return pa.array(values, mask=np.asarray(array.is_null()))
    return array


def _simplify_decimals(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    try:
        make = getattr(pa, f"decimal{kind.bit_width}")
        whole = column.cast(make(kind.precision, 0)) if kind.scale else column
    except pa.ArrowInvalid:  # has parts of a whole
        return column.cast(pa.float64())
    for integer in (pa.int64(), pa.uint64()):
        try:
            return whole.cast(integer)
        except pa.ArrowInvalid:
            continue
    return whole
