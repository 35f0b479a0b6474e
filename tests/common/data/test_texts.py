"""Titles, query texts and words as a dataset folder stores them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.data.texts import (
    read_columns,
    read_query_texts,
    read_title_tokens,
    read_titles,
    read_words,
)
from common.errors import InputError


@pytest.fixture
def folder(tmp_path):
    lists = pa.list_(pa.int32())
    tables = {
        "items": {
            "raw_id": ["a", "b", "c", "d"],
            "title": pa.array(["red pot", None, "  ", " cup "], pa.string()),
            "text_tok": pa.array([[2, 1], None, [], [3]], lists),
        },
        "queries": {
            "text": pa.array(["pot", None, None], pa.string()),
            "tok": pa.array([[1], [2, 1], []], lists),
        },
        "tokens": {"word": ["pot", "red", "cup"]},
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    return tmp_path


def test_blank_titles_are_none(folder):
    assert read_titles(folder) == ["red pot", None, None, "cup"]


def test_token_lists_keep_the_items_order(folder):
    lists = read_title_tokens(folder)
    np.testing.assert_array_equal(lists.lengths, [2, 0, 0, 1])
    np.testing.assert_array_equal(lists.values, [2, 1, 3])
    assert lists.values.dtype == np.int32


def test_no_token_list_at_all_is_none(folder):
    empty = pa.array([None, None], pa.list_(pa.int32()))
    pq.write_table(pa.table({"text_tok": empty}), folder / "items.parquet")
    assert read_title_tokens(folder) is None


def test_a_query_without_text_is_its_words(folder):
    assert read_query_texts(folder) == ["pot", "red pot", ""]
    assert read_words(folder) == ["pot", "red", "cup"]


def test_columns_come_in_the_order_asked_for(folder):
    titles, ids = read_columns(folder, "items", "title", "raw_id")
    assert titles[0] == "red pot"
    assert ids == ["a", "b", "c", "d"]


def test_missing_and_damaged_tables_are_named(folder):
    (folder / "queries.parquet").unlink()
    (folder / "tokens.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"queries\.parquet: missing"):
        read_query_texts(folder)
    with pytest.raises(InputError, match=r"tokens\.parquet: is no table"):
        read_words(folder)
    with pytest.raises(InputError, match=r"items\.parquet: is no table"):
        read_columns(folder, "items", "colour")
