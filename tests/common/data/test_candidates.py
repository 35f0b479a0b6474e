"""Candidate lists: the rules, independence of order, a plain loop, and stored hashes."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.bm25 import build_index, split_words
from common.data.candidates import (
    Ever,
    SameQuery,
    count_items,
    draw_bm25_lists,
    draw_popularity_lists,
    draw_uniform_lists,
    ever_items,
    same_query_items,
)
from common.data.events import RecEvents, SearchEvents, make_searches
from common.data.hashing import array_sha256, draw_uniform
from common.data.splits import make_split
from common.errors import InputError

BEAUTY = Path(__file__).resolve().parents[3] / ".." / "shared/data/amazon_beauty_2014"


def make_ever(sets):
    """One set of items per user; user 0 has none."""
    off = np.concatenate([[0, 0], np.cumsum([len(s) for s in sets])])
    return Ever(off, np.array([i for s in sets for i in sorted(s)], np.int32))


def make_events():
    rec = RecEvents(
        user=np.array([1, 1, 3], np.int32),
        ts=np.array([1, 2, 1]),
        seq=np.zeros(3, np.int32),
        item=np.array([5, 6, 2], np.int32),
        label=np.array([1, 0, 1], np.uint8),
    )
    search = make_searches(
        user=np.array([1, 1, 3], np.int32),
        ts=np.array([3, 4, 2]),
        seq=np.zeros(3, np.int32),
        query=np.array([2, 1, 2], np.int32),
        click_off=np.array([0, 2, 2, 3]),
        click_item=np.array([4, 5, 4], np.int32),
    )
    return rec, search


def test_ever_holds_positives_and_clicks_of_both_services():
    ever = ever_items(*make_events(), 4)
    assert [ever.of(user).tolist() for user in range(5)] == [[], [4, 5], [], [2, 4], []]


def test_ever_of_an_empty_log():
    rec, search = make_events()
    none = RecEvents(*[column[:0] for column in rec])
    nothing = SearchEvents(*[column[:0] for column in search])._replace(click_off=np.zeros(1, int))
    assert ever_items(none, nothing, 2).off.tolist() == [0, 0, 0, 0]


def test_same_query_items_and_share():
    same = same_query_items(make_events()[1], 6)
    assert isinstance(same, SameQuery)
    assert same.items_of(2).tolist() == [4, 5]
    assert same.items_of(1).tolist() == []
    lists = np.array([[1, 4, 6], [4, 5, 2]], np.int32)
    assert same.share(lists, np.array([2, 1])) == 0.25  # item 4 for query 2; query 1 has none


def draw_naively(task, row, target, excluded, pick, seed, negatives):
    """The rule as one reads it: draw by draw."""
    found, draw = [target], 0
    while len(found) < 1 + negatives:
        item = pick(draw_uniform(seed, {"rec": 0, "search": 1}[task], row, draw)[0])
        draw += 1
        if item not in found and item not in excluded:
            found.append(item)
    return found


@st.composite
def problems(draw):
    """A small catalogue, users with sets, rows with targets."""
    n_items = draw(st.integers(6, 30))
    sets = draw(st.lists(st.sets(st.integers(1, n_items), max_size=3), min_size=1, max_size=4))
    n = draw(st.integers(1, 8))
    rows = draw(st.lists(st.integers(0, 10**6), min_size=n, max_size=n, unique=True))
    users = draw(st.lists(st.integers(1, len(sets)), min_size=n, max_size=n))
    targets = draw(st.lists(st.integers(1, n_items), min_size=n, max_size=n))
    return (
        n_items,
        [set(s) for s in sets],
        np.array(rows),
        np.array(users),
        np.array(targets, np.int32),
        draw(st.sampled_from(["rec", "search"])),
        draw(st.integers(0, 3)),
        draw(st.integers(1, n_items - 4)),  # at most three items and the target are excluded
    )


@given(problems())
@settings(derandomize=True, deadline=None, max_examples=60)
def test_uniform_lists_equal_the_plain_loop(problem):
    n_items, sets, rows, users, targets, task, seed, negatives = problem
    lists = draw_uniform_lists(
        task, rows, targets, users, make_ever(sets), n_items, seed, negatives
    )
    assert lists.dtype == np.int32
    for i, row in enumerate(rows):
        assert lists[i].tolist() == draw_naively(
            task, row, targets[i], sets[users[i] - 1], lambda u: 1 + int(u * n_items), seed,
            negatives,
        )  # fmt: skip


@given(problems(), st.lists(st.integers(0, 5), min_size=30, max_size=30))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_popularity_lists_equal_the_plain_loop(problem, weights):
    n_items, sets, rows, users, targets, task, seed, _ = problem
    counts = np.array([9, *weights])[: n_items + 1]
    if (counts[1:] > 0).sum() < 5:
        counts[1:6] = 1
    negatives = int((counts[1:] > 0).sum()) - 4
    cumulative = np.cumsum(counts[1:])

    def pick(u):
        return 1 + int((cumulative <= int(u * cumulative[-1])).sum())

    lists = draw_popularity_lists(
        task, rows, targets, users, make_ever(sets), counts, seed, negatives
    )
    for i, row in enumerate(rows):
        excluded = sets[users[i] - 1]
        assert lists[i].tolist() == draw_naively(
            task, row, targets[i], excluded, pick, seed, negatives
        )
        assert (counts[lists[i, 1:]] > 0).all()


@given(problems(), st.randoms(use_true_random=False))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_a_row_has_the_same_list_in_every_order_and_subset(problem, random):
    n_items, sets, rows, users, targets, task, seed, negatives = problem
    rest = (make_ever(sets), n_items, seed, negatives)
    lists = draw_uniform_lists(task, rows, targets, users, *rest)
    chosen = list(range(len(rows)))
    random.shuffle(chosen)
    chosen = chosen[: max(1, len(chosen) // 2)]
    part = draw_uniform_lists(task, rows[chosen], targets[chosen], users[chosen], *rest)
    np.testing.assert_array_equal(part, lists[chosen])


def test_many_rows_are_drawn_in_chunks_like_few():
    rows = np.arange(20_000)
    targets = (1 + rows % 300).astype(np.int32)
    ever = make_ever([{1, 2, 3}])
    users = np.ones(len(rows), np.int32)
    lists = draw_uniform_lists("rec", rows, targets, users, ever, 300, 5)
    for part in (slice(8_190, 8_194), slice(19_990, 20_000)):
        few = draw_uniform_lists("rec", rows[part], targets[part], users[part], ever, 300, 5)
        np.testing.assert_array_equal(few, lists[part])


def test_a_list_that_takes_thousands_of_draws_is_filled():
    counts = np.array([0, 100_000, 1, 1, 1])
    lists = draw_popularity_lists(
        "rec", np.array([3]), np.array([1]), np.array([1]), make_ever([{1}]), counts, 0, 3
    )
    assert sorted(lists[0].tolist()) == [1, 2, 3, 4]


def test_too_few_items_name_the_row_and_the_mend():
    rows, targets, users = np.array([7, 8]), np.array([1, 2], np.int32), np.array([1, 2])
    ever = make_ever([{1}, {2, 3, 4}])
    with pytest.raises(InputError, match=r"rec row 9: only 2 items .* user 2 .* --negatives"):
        draw_uniform_lists("rec", rows, targets, users, ever, 5, 0, 3)
    draw_uniform_lists("rec", rows, targets, users, ever, 5, 0, 2)
    counts = np.array([0, 1, 1, 0, 0, 0])  # item 2 is all that can be drawn for the first row
    with pytest.raises(InputError, match=r"search row 8: only 1 items .* 2 are needed"):
        draw_popularity_lists("search", rows, targets, users, ever, counts, 0, 2)


@pytest.fixture(scope="module")
def index():
    vocabulary = {}
    titles = [None, "red polish", "red", "blue polish", "red oil", "oil", "comb", "comb red"]
    items = split_words(titles, vocabulary)
    return build_index(items, split_words([None, "red", "shampoo"], vocabulary))


def test_bm25_lists_are_the_best_matches_then_popular_items(index):
    rows, users = np.array([0, 1, 2]), np.array([1, 2, 1])
    targets, queries = np.array([1, 2, 5], np.int32), np.array([1, 1, 2])
    ever = make_ever([{1}, {2, 4}])
    counts = np.ones(8, np.int64)
    lists = draw_bm25_lists(
        "search", rows, targets, users, ever, counts, 0, 3, queries=queries, index=index
    )
    assert lists[0].tolist() == [1, 2, 4, 7]  # the shortest title first, then by item
    assert lists[1, :3].tolist() == [2, 1, 7]
    popular = draw_popularity_lists("search", rows, targets, users, ever, counts, 0, 3)
    assert lists[2].tolist() == popular[2].tolist()  # nothing matches: the same draws
    topped_up = next(i for i in popular_draws(1) if i not in (1, 2, 4, 7))
    assert lists[1, 3] == topped_up


def popular_draws(row):
    for draw in range(100):
        yield 1 + int(draw_uniform(0, 1, row, draw)[0] * 7)


def test_bm25_can_drop_equally_relevant_items(index):
    same = SameQuery(np.array([1 * 8 + 2, 1 * 8 + 7]), 8)
    arguments = ("search", np.array([0]), np.array([1]), np.array([1]), make_ever([{1}]))
    counts = np.ones(8, np.int64)
    options = {"queries": np.array([1]), "index": index}
    lists = draw_bm25_lists(*arguments, counts, 0, 2, **options)
    assert same.share(lists, np.array([1])) == 0.5
    lists = draw_bm25_lists(*arguments, counts, 0, 1, **options, drop=same.items_of)
    assert lists[0].tolist() == [1, 4]


def test_no_rows_give_no_lists(index):
    none = np.zeros(0, np.int64)
    arguments = ("search", none, none, none, make_ever([{1}]))
    assert draw_uniform_lists(*arguments, 5, 0, 2).shape == (0, 3)
    lists = draw_bm25_lists(*arguments, np.ones(8, np.int64), 0, 2, queries=none, index=index)
    assert lists.shape == (0, 3)


def test_reference_hashes_on_amazon_beauty():
    if not BEAUTY.is_dir():
        pytest.skip("the Amazon Beauty files are not here")
    with gzip.open(BEAUTY / "reviews_Beauty_5.json.gz", "rt") as file:
        reviews = [json.loads(line) for line in file]
    _, user = np.unique([review["reviewerID"] for review in reviews], return_inverse=True)
    _, item = np.unique([review["asin"] for review in reviews], return_inverse=True)
    ts = np.array([review["unixReviewTime"] * 1000 for review in reviews])
    order = np.lexsort((ts, user))
    user, item, ts = (
        (user[order] + 1).astype(np.int32),
        (item[order] + 1).astype(np.int32),
        ts[order],
    )
    index = np.arange(len(user), dtype=np.int32)  # increases inside a tie: all that is asked of seq
    ones = np.ones(len(user), np.int32)
    rec = RecEvents(user, ts, index, item, ones.astype(np.uint8))
    search = make_searches(user, ts, index, ones, np.arange(len(user) + 1), item)

    split = make_split("leave_one_out_joint", rec, search, "time")
    rows, train = split.rows["rec", "test"], split.rows["rec", "train"]
    ever = ever_items(rec, search, 22_363)
    lists = draw_uniform_lists("rec", rows, item[rows], user[rows], ever, 12_101, 0)
    assert array_sha256(lists).startswith("461f872fbb70fb06")
    counts = count_items(item[train], 12_101)
    lists = draw_popularity_lists("rec", rows, item[rows], user[rows], ever, counts, 0)
    assert array_sha256(lists).startswith("bac91ff0df86b9c0")
