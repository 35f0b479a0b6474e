"""Each step of the pseudo-query recipe."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.hashing import QUERY, SEARCH_SHARE, draw_uniform
from common.data.pseudo_queries import (
    Recipe,
    choose_searches,
    clean_text,
    drop_stopwords,
    join_levels,
    keep_last,
    make_item_queries,
    make_query,
    pick_queries,
    split_purchases,
)
from common.errors import InputError


@pytest.mark.parametrize(
    ("path", "drop_root", "text"),
    [
        (["Beauty", "Hair Care"], False, "Beauty Hair Care"),
        (["Beauty", "Hair Care"], True, "Hair Care"),
        (["Beauty"], False, ""),
        (["Beauty"], True, ""),
        ([], False, ""),
    ],
)
def test_join_levels_needs_two_levels(path, drop_root, text):
    assert join_levels(path, drop_root) == text


@pytest.mark.parametrize(
    ("text", "letters", "all_characters"),
    [
        ("Creams &amp; Lotions", "creams  lotions", "creams   lotions"),
        ("Women's", "womens", "women"),
        ("Women&#39;s Care", "womens care", "women care"),
        ("Anti-Aging 2 in 1", "antiaging  in ", "anti aging 2 in 1"),
        ("Crème\tBrûlée", "crme brle", "cr me br l e"),
    ],
)
def test_clean_text(text, letters, all_characters):
    assert clean_text(text) == letters
    assert clean_text(text, letters_only=False) == all_characters


def test_drop_stopwords():
    assert drop_stopwords(["tools", "for", "the", "care", "of", "s", "nails"]) == [
        "tools",
        "care",
        "nails",
    ]


@pytest.mark.parametrize(
    ("words", "kept"),
    [("a b a", "b a"), ("beauty hair care hair", "beauty care hair"), ("", ""), ("x", "x")],
)
def test_keep_last(words, kept):
    assert keep_last(words.split()) == kept.split()


def test_make_query():
    path = ["Beauty", "Skin Care", "Eyes", "Creams, Gels & Care for Eyes"]
    assert make_query(path, Recipe()) == ("beauty", "skin", "creams", "gels", "care", "eyes")
    assert make_query(path, Recipe(drop_root=True))[0] == "skin"
    assert make_query(["Beauty"], Recipe()) == ()
    assert make_query(["The", "& 1"], Recipe()) == ()


def test_item_queries_are_distinct_and_sorted():
    paths = [["B", "Nails"], ["A", "Hair"], ["B", "nails!"], ["B"]]
    assert make_item_queries(paths, Recipe()) == (("b", "nails"), ("hair",))


def test_picks_are_the_draws_of_the_row():
    counts = np.array([1, 3, 0, 3, 3, 2])
    u = draw_uniform(7, QUERY, np.arange(6), 0)
    expected = [0, int(u[1] * 3), -1, int(u[3] * 3), int(u[4] * 3), int(u[5] * 2)]
    assert pick_queries(counts, 7).tolist() == expected
    # a row's pick does not depend on how many rows follow
    assert pick_queries(counts[:4], 7).tolist() == expected[:4]


def test_searches_are_the_draws_below_the_share():
    u = draw_uniform(3, SEARCH_SHARE, np.arange(1000), 0)
    chosen = choose_searches(1000, 0.76, 3)
    assert (chosen == (u < 0.76)).all()
    assert 0.72 < chosen.mean() < 0.80
    assert choose_searches(10, 1.0, 3).all()
    assert not choose_searches(10, 0.0, 3).any()
    assert len(choose_searches(0, 1.0, 3)) == 0


@settings(derandomize=True, deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(0, 3), max_size=30),
    share=st.sampled_from([0.0, 0.3, 0.76, 1.0]),
    mode=st.sampled_from(["copy", "move"]),
    seed=st.integers(0, 99),
)
def test_purchases_are_copied_or_moved(counts, share, mode, seed):
    counts = np.array(counts, np.int64)
    kept = split_purchases(counts, Recipe(search_share=share, mode=mode), seed)
    every = set(range(len(counts)))
    if mode == "copy":
        assert set(kept.rec) == every
    else:
        assert set(kept.rec) == every - set(kept.search)
    assert (np.diff(kept.search) > 0).all()
    assert (kept.query >= 0).all()
    assert (kept.query < counts[kept.search]).all()
    if share == 1.0:
        assert set(kept.search) == set(np.flatnonzero(counts))


def test_every_purchase_is_a_search_by_default():
    assert Recipe().search_share == 1.0
    assert Recipe().mode == "copy"


@pytest.mark.parametrize(
    ("options", "message"),
    [({"search_share": 1.2}, "search_share 1.2"), ({"mode": "both"}, "query_mode 'both'")],
)
def test_bad_options(options, message):
    with pytest.raises(InputError, match=message):
        Recipe(**options)
