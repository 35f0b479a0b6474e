"""Prompts as whole sentences, and as ids by hand."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import InputError
from gensr_jax.prompt import (
    Query,
    Slot,
    Text,
    build_prompts,
    describe_prompt,
    make_layout,
    measure_rec,
    parse_template,
)
from gensr_jax.templates import REC
from gensr_jax.tokens import join_lists, number_words

pytest.importorskip("tokenizers")

NO_TASK = REC + " {query}"  # one prompt for both tasks, the query behind it
SHORT = ("see {hist_cf} or {cand_sem}? ", "see {hist_cf} for {query} or {cand_sem}? ")


@pytest.fixture(scope="module")
def books():
    """The default layout for books, and a vocabulary of its words and three of queries."""
    layout = make_layout(noun="book")
    return layout, number_words(["red", "pot", "cup"], layout.texts(), where="here")


def test_default_prompts_as_sentences(books):
    layout, vocabulary = books
    prompts = build_prompts(layout, vocabulary, join_lists([[3, 4], []]))
    start = (
        "Question : A user liked the following books : [hist_cf] . The semantic features of these "
        "books are : [hist_sem] . Using all this information , predict whether the user would "
        "like the book [cand_cf] with the semantic feature [cand_sem] "
    )
    end = "? Answer Yes or No . Answer :"
    shown = [describe_prompt(prompts, row, vocabulary) for row in range(3)]
    assert shown == [
        start + end,
        start + "for the query : red pot " + end,
        start + "for the query : " + end,
    ]
    assert (prompts.cut, prompts.empty) == (0, 1)


@pytest.mark.parametrize(("multiple", "whole", "rec"), [(8, 56, 56), (4, 56, 52), (1, 55, 49)])
def test_lengths_are_multiples(books, multiple, whole, rec):
    layout, vocabulary = books
    prompts = build_prompts(layout, vocabulary, join_lists([[3, 4]]), multiple=multiple)
    assert prompts.tok.shape == (3, whole)
    assert measure_rec(prompts.mask, multiple) == rec


def test_default_prompts_end_with_the_end_token_and_pads(books):
    layout, vocabulary = books
    prompts = build_prompts(layout, vocabulary, join_lists([[3], [3, 4, 5]]))
    lengths = prompts.mask.sum(axis=1)
    for row, length in enumerate(lengths):
        assert prompts.tok[row, length - 1] == vocabulary.eos
        assert prompts.mask[row, :length].all()
        np.testing.assert_array_equal(prompts.tok[row, length:], 0)
        np.testing.assert_array_equal(prompts.slot[row, length:], -1)
        assert prompts.slot[row][prompts.slot[row] >= 0].tolist() == [0, 1, 2, 3]
    real = (prompts.tok != 0) | (prompts.slot >= 0)
    np.testing.assert_array_equal(prompts.mask, real)
    assert prompts.tok.shape[1] == -(-lengths.max() // 8) * 8
    assert vocabulary.yes in prompts.tok[0]
    assert vocabulary.no in prompts.tok[0]


def test_ids_by_hand():
    layout = make_layout(*SHORT)
    vocabulary = number_words(["w"], layout.texts(), where="here")
    # 0 pad, 1 end, 2 unknown, 3 w, 4 ?, 5 No, 6 Yes, 7 for, 8 or, 9 see
    queries = join_lists([[3], [], [3, 3, 3, 3]])
    prompts = build_prompts(layout, vocabulary, queries, query_length=2)
    assert prompts.tok.tolist() == [
        [9, 0, 8, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [9, 0, 7, 3, 8, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        [9, 0, 7, 8, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [9, 0, 7, 3, 3, 8, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0],
        [9, 0, 7, 8, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],  # a search without its query
    ]
    assert prompts.slot[3].tolist() == [-1, 0, -1, -1, -1, -1, 3] + [-1] * 9
    assert prompts.mask[0].tolist() == [True] * 6 + [False] * 10
    assert (prompts.cut, prompts.empty) == (1, 1)
    assert build_prompts(layout, vocabulary, queries, query_length=1).tok.shape == (5, 8)
    assert prompts.tok.dtype == np.int32
    assert prompts.slot.dtype == np.int8
    assert prompts.mask.dtype == np.bool_


def test_many_queries_are_the_same_as_one_by_one(books):
    layout, vocabulary = books
    rng = np.random.default_rng(0)
    queries = [rng.integers(2, 6, n).tolist() for n in rng.integers(0, 7, 40)]
    prompts = build_prompts(layout, vocabulary, join_lists(queries), query_length=5)
    assert prompts.tok.shape[0] == 42
    for row, query in enumerate(queries, 1):
        alone = build_prompts(layout, vocabulary, join_lists([query]), query_length=5)
        width = alone.tok.shape[1]
        for many, one in zip(prompts[:3], alone[:3], strict=True):
            np.testing.assert_array_equal(many[row, :width], one[1])
    assert prompts.cut == sum(len(query) > 5 for query in queries)
    assert prompts.empty == sum(not query for query in queries)


def test_no_task_prompt_appends_the_query():
    layout = make_layout(NO_TASK, NO_TASK)
    vocabulary = number_words(["cup"], layout.texts(), where="here")
    prompts = build_prompts(layout, vocabulary, join_lists([[3, 3], []]))
    rec, search, empty = (describe_prompt(prompts, row, vocabulary) for row in range(3))
    assert search == rec + " cup cup"
    assert empty == rec
    assert rec.endswith("Answer :")


def test_no_query_at_all(books):
    layout, vocabulary = books
    prompts = build_prompts(layout, vocabulary, join_lists([]))
    assert prompts.tok.shape[0] == 2


def test_templates_become_pieces():
    assert parse_template(SHORT[1], "item", "here") == (
        Text("see "), Slot(0), Text(" for "), Query(), Text(" or "), Slot(3), Text("? "),
    )  # fmt: skip
    assert make_layout(noun="video").rec[0] == Text("Question: A user liked the following videos: ")
    assert make_layout().texts()[-2:] == [" for the query: ", "? Answer Yes or No. Answer:"]


@pytest.mark.parametrize(
    ("rec", "search", "message"),
    [
        (REC, REC, r"config\.text\.search: lacks \{query\}; put it"),
        (SHORT[1], NO_TASK, r"config\.text\.rec: has \{query\}"),
        ("a {title}", NO_TASK, r"config\.text\.rec: has the unknown mark \{title\}; the marks"),
        (REC, NO_TASK + " {query}", r"config\.text\.search: has \{query\} twice"),
        (REC, "a {query", r"config\.text\.search: is no template \(.*\); close"),
        (REC, "a {} {query}", r"unknown mark \{\}"),
        (
            "foo",
            NO_TASK,
            r"config\.text\.rec: lacks \{hist_cf\} or \{hist_sem\}; put it where the h",
        ),
        ("{hist_cf}", NO_TASK, r"config\.text\.rec: lacks \{cand_cf\} or \{cand_sem\}"),
        (REC, "{cand_cf} {query}", r"config\.text\.search: lacks \{hist_cf\}"),
    ],
)
def test_bad_templates_are_named(rec, search, message):
    with pytest.raises(InputError, match=message):
        make_layout(rec, search)


def test_the_slots_of_a_view_that_is_off_do_not_count():
    template = "{hist_cf} {cand_cf}"
    layout = make_layout(template, template + "{query}", views=["cf"])
    assert layout.rec == (Slot(0), Slot(2))
    with pytest.raises(InputError, match=r"config\.text\.rec: lacks \{hist_sem\}; put it"):
        make_layout(template, template + "{query}", views=["sem"])
