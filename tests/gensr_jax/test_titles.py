"""Title tables, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from gensr_jax.titles import build_titles
from gensr_jax.tokens import choose_vocabulary

pytest.importorskip("tokenizers")


def test_titles_of_word_ids(text_dataset):
    dataset = text_dataset(titles=(None, None, None))  # tokens [3, 2], none, [1, 9, 2]
    titles = build_titles(dataset, choose_vocabulary(dataset, "words"), head=1, full=2)
    np.testing.assert_array_equal(titles.head, [[0], [5], [0], [3]])
    np.testing.assert_array_equal(titles.full, [[0, 0], [5, 4], [0, 0], [3, 11]])
    assert (titles.cut, titles.empty) == (1, 1)
    assert titles.head.dtype == titles.full.dtype == np.int32


def test_titles_of_texts_have_no_end_token(text_dataset):
    dataset = text_dataset()
    vocabulary = choose_vocabulary(dataset, "unigram", size=60)
    titles = build_titles(dataset, vocabulary, head=10, full=8)
    assert titles.head.shape == (4, 10)
    assert titles.full.shape == (4, 8)
    assert vocabulary.eos not in titles.full
    shown = [vocabulary.decode(row[row != 0]) for row in titles.head]
    assert shown == ["", "red pot", "", "cup, blue"]
    assert titles.empty == 1


def test_one_short_title_is_not_cut(text_dataset):
    dataset = text_dataset()
    vocabulary = choose_vocabulary(dataset, "words")
    assert build_titles(dataset, vocabulary, full=3).cut == 0
    assert build_titles(dataset, vocabulary, head=3, full=1).cut == 2
