"""Dense ids depend on the values, not on the order in which they came."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.vocabulary import (
    find_ids,
    index_texts,
    number_categories,
    tabulate_items,
    tabulate_queries,
)


def test_ids_are_ranks_by_bytes():
    texts = pa.array(["b", "a", None, "é", "B", "b"])
    vocabulary = index_texts(texts)
    assert vocabulary.to_pylist() == ["B", "a", "b", "é"]
    assert find_ids(texts, vocabulary).tolist() == [3, 2, 0, 4, 1, 3]
    assert find_ids(pa.array(["x"]), vocabulary).tolist() == [0]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(texts=st.lists(st.text(max_size=4), max_size=20))
def test_ids_lead_back_to_the_texts(texts: list[str]):
    column = pa.array(texts, pa.string())
    vocabulary = index_texts(column)
    assert vocabulary.to_pylist() == sorted(set(texts))
    assert [vocabulary[i - 1].as_py() for i in find_ids(column, vocabulary).tolist()] == texts


def test_categories_are_whole_paths():
    paths = [["A", "X"], ["B", "X", "p", "q", "r"], [], ["A"], ["B", "W"]]
    assert number_categories(paths).tolist() == [
        [1, 1, 0, 0],
        [2, 3, 1, 1],
        [0, 0, 0, 0],
        [1, 0, 0, 0],
        [2, 2, 0, 0],
    ]


def test_queries_and_tokens():
    queries, tokens = tabulate_queries({"tea pot": ["tea", "pot"], "cup": ["cup"], "?": []})
    assert queries["text"].to_pylist() == ["?", "cup", "tea pot"]
    assert queries["tok"].to_pylist() == [[], [1], [3, 2]]
    assert tokens.to_pydict() == {"tok": [1, 2, 3], "word": ["cup", "pot", "tea"]}


def test_brands_are_sorted_and_none_is_zero():
    none, brands = [None] * 3, ["z", None, "a"]
    items = tabulate_items(pa.array(["1", "2", "3"]), none, none, [[]] * 3, brands)
    assert items["brand"].to_pylist() == [2, 0, 1]
    assert items["item"].to_numpy().dtype == np.int32
