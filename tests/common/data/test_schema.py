"""Canonical tables and the hash of their content."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.schema import SCHEMAS, conform_table, dataset_sha256, table_sha256
from common.errors import InputError


def _table(**columns: pa.Array) -> pa.Table:
    return pa.table(columns)


def test_hash_of_a_small_table_is_the_sha256_of_its_parts():
    table = _table(
        n=pa.array([1, None], pa.int32()),
        s=pa.array(["é", ""], pa.string()),
        l=pa.array([[7], None], pa.list_(pa.int32())),
    )
    parts = [
        b"n\n2\n", b"\x01\x00", b"int32\n", np.array([1, 0], "<i4").tobytes(),
        b"s\n2\n", b"\x01\x01", b"string\n", np.array([2, 0], "<i8").tobytes(), "é".encode(),
        b"l\n2\n", b"\x01\x00", b"list\n", np.array([1, 0], "<i8").tobytes(),
        b"\x01", b"int32\n", np.array([7], "<i4").tobytes(),
    ]  # fmt: skip
    assert table_sha256(table) == hashlib.sha256(b"".join(parts)).hexdigest()


_ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-5, 5),
        st.none() | st.text(max_size=3),
        st.none() | st.lists(st.none() | st.text(max_size=2), max_size=3),
        st.booleans(),
        st.none() | st.floats(-1, 1, width=32),
    ),
    min_size=1,
    max_size=8,
)


def _mixed(rows: list[tuple]) -> pa.Table:
    kinds = [pa.int32(), pa.string(), pa.list_(pa.string()), pa.bool_(), pa.float32()]
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, kind) for column, kind in zip(columns, kinds, strict=True)]
    return pa.Table.from_arrays(arrays, names=list("abcde"))


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rows=_ROWS, cut=st.integers(0, 8))
def test_hash_does_not_depend_on_chunks_slices_or_the_file(rows, cut):
    table = _mixed(rows)
    expected = table_sha256(table)
    chunked = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    padded = pa.concat_tables([table, table, table]).combine_chunks().slice(len(rows), len(rows))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="none", row_group_size=2)
    stored = pq.read_table(pa.BufferReader(sink.getvalue()))
    for same in (chunked, padded, stored):
        assert table_sha256(same) == expected


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rows=_ROWS, other=_ROWS)
def test_different_content_has_different_hashes(rows, other):
    # A list that is null and one that is empty are different, and so are 0 and null.
    same = repr(rows).replace("-0.0", "0.0") == repr(other).replace("-0.0", "0.0")
    if not same:
        assert table_sha256(_mixed(rows)) != table_sha256(_mixed(other))


def test_hash_ignores_what_lies_behind_a_null():
    hidden = pa.Array.from_buffers(
        pa.int32(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([3, 9], "<i4").tobytes())]
    )
    assert table_sha256(_table(a=hidden)) == table_sha256(_table(a=pa.array([3, None], pa.int32())))


def test_hash_knows_names_types_and_where_strings_end():
    base = table_sha256(_table(a=pa.array(["ab", "c"])))
    assert table_sha256(_table(b=pa.array(["ab", "c"]))) != base
    assert table_sha256(_table(a=pa.array(["a", "bc"]))) != base
    one, two = (table_sha256(_table(a=pa.array([1], kind))) for kind in (pa.int32(), pa.int64()))
    assert one != two


def test_dataset_hash_is_over_sorted_hashes():
    assert dataset_sha256(["b", "a"]) == hashlib.sha256(b"a\nb").hexdigest()


def test_conform_casts_orders_and_fills_optional_columns():
    table = pa.table(
        {"item": [5], "user": [1], "seq": [0], "ts_ms": [9], "label": [1], "actions": [1]}
    )
    rec = conform_table("rec", table)
    assert rec.schema.equals(SCHEMAS["rec"])
    assert rec["dwell_ms"].null_count == 1


def test_users_may_have_features_and_nothing_else():
    users = pa.table({"user": [1], "raw_id": ["a"], "feat_age": [3]})
    assert conform_table("users", users)["feat_age"].type == pa.int32()
    with pytest.raises(InputError, match=r"users\.parquet, column age: not in the schema"):
        conform_table("users", users.rename_columns(["user", "raw_id", "age"]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"tok": [1]}, r"tokens\.parquet, column word: missing"),
        ({"tok": [1, None], "word": ["a", "b"]}, r"tokens\.parquet, row 2, column tok: is null"),
        ({"tok": [2**40], "word": ["a"]}, r"tokens\.parquet, column tok: is no int32"),
        ({"tok": ["x"], "word": ["a"]}, r"tokens\.parquet, column tok: is no int32"),
    ],
)
def test_conform_names_table_row_and_column(columns, message):
    with pytest.raises(InputError, match=message):
        conform_table("tokens", pa.table(columns))
