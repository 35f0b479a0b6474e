"""BM25 against the formula written out for three small titles."""

import math

import numpy as np
import pytest

from common.data.bm25 import build_index, rank_hits, score_query, split_words

TITLES = [None, "Red nail polish", "red RED lipstick", "hair oil", "nail file", None]
QUERIES = [None, "red nail", "shampoo", "oil"]


@pytest.fixture(scope="module")
def index():
    vocabulary = {}
    items = split_words(TITLES, vocabulary)
    return build_index(items, split_words(QUERIES, vocabulary))


def test_words_are_lower_cased_runs_of_letters_and_digits():
    vocabulary = {}
    words = split_words(["A-b 2x, A", None, ""], vocabulary)
    assert list(vocabulary) == ["a", "b", "2x"]
    assert words.off.tolist() == [0, 4, 4, 4]
    assert words.word.tolist() == [0, 1, 2, 0]


def test_scores_follow_the_formula(index):
    def term(df, tf, length):
        idf = math.log(1 + (5 - df + 0.5) / (df + 0.5))  # five items, one of them without words
        return idf * tf * 2.2 / (tf + 1.2 * (1 - 0.75 + 0.75 * length / 2))  # ten words

    expected = [0, term(2, 1, 3) + term(2, 1, 3), term(2, 2, 3), 0, term(2, 1, 2), 0]
    np.testing.assert_allclose(score_query(index, 1), expected, rtol=1e-12)


def test_hits_are_ordered_by_score_and_end_where_no_word_matches(index):
    assert rank_hits(index, 1).tolist() == [1, 2, 4]
    assert rank_hits(index, 2).tolist() == []
    assert rank_hits(index, 3).tolist() == [3]


def test_equal_scores_are_ordered_by_item():
    vocabulary = {}
    items = split_words([None, "b", "a", "a", "a"], vocabulary)
    index = build_index(items, split_words([None, "a"], vocabulary))
    assert rank_hits(index, 1).tolist() == [2, 3, 4]


def test_a_catalogue_without_words_has_no_hits():
    vocabulary = {}
    items = split_words([None, None], vocabulary)
    index = build_index(items, split_words([None, "a"], vocabulary))
    assert rank_hits(index, 1).tolist() == []
