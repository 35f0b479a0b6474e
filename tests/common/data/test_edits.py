"""Edited batches: which searches come in or go out, and what becomes of the recency ranks."""

from __future__ import annotations

import numpy as np
import pytest

from common.data import edits
from common.data.edits import (
    SearchPool,
    drop_search,
    inject_searches,
    is_injected,
    pool_searches,
    swap_searches,
)
from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.readers.synthetic import generate
from common.errors import InputError

M, N = 3, 3
# Users 1 and 2 have the searches 0..1 and 2..5; user 3 has none.
POOL = SearchPool(
    off=np.array([0, 0, 2, 6, 6]),
    query=np.array([10, 11, 12, 13, 14, 15], np.int32),
    click=np.array([[1, 0], [2, 3], [4, 5], [5, 9], [0, 0], [7, 8]], np.int32),
)


def make_batch():
    """Row 0: user 1, merged timeline (oldest first) rec 50, search 40, rec 30, search 10.
    Row 1: user 2, three searches and no rec event. Row 2: user 3, one rec event."""
    return {
        "row": np.array([100, 200, 300]),
        "user": np.array([1, 2, 3], np.int32),
        "target": np.array([9, 2, 9], np.int32),
        "rec_item": np.array([[21, 22, 0], [0, 0, 0], [23, 0, 0]], np.int32),
        "rec_age_ms": np.array([[50, 30, 0], [0, 0, 0], [7, 0, 0]]),
        "rec_mask": np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0]], np.uint8),
        "search_query": np.array([[10, 11, 0], [13, 14, 15], [0, 0, 0]], np.int32),
        "search_click": np.array(
            [[[1, 0], [2, 3], [0, 0]], [[5, 9], [0, 0], [7, 8]], np.zeros((3, 2))], np.int32
        ),
        "search_row": np.array([[0, 1, 0], [3, 4, 5], [0, 0, 0]]),
        "search_age_ms": np.array([[40, 10, 0], [90, 60, 20], [0, 0, 0]]),
        "search_mask": np.array([[1, 1, 0], [1, 1, 1], [0, 0, 0]], np.uint8),
        "order": np.array([[3, 1, 6, 2, 0, 6], [6, 6, 6, 2, 1, 0], [0, 6, 6, 6, 6, 6]], np.int32),
    }


def fix_draws(monkeypatch, which, when):
    """Every search drawn is at share `which` of those of others, every time at share `when`."""

    def draw(seed, stream, row, counter):
        return np.broadcast_to(np.where(np.asarray(counter) % 2, when, which), (len(row), N))

    monkeypatch.setattr(edits, "draw_uniform", draw)


def test_no_injection_widens_the_memory_and_nothing_else():
    before = make_batch()
    after = inject_searches(before, POOL, 0.0)
    assert after["search_query"].tolist()[0] == [10, 11, 0, 0, 0, 0]
    assert after["search_click"].shape == (3, 2 * N, 2)
    assert after["order"].tolist() == [
        [3, 1, 9, 2, 0, 9, 9, 9, 9],
        [9, 9, 9, 2, 1, 0, 9, 9, 9],
        [0, 9, 9, 9, 9, 9, 9, 9, 9],
    ]
    for name, array in make_batch().items():
        np.testing.assert_array_equal(before[name], array)  # the given batch is left alone
        assert after[name].dtype == array.dtype, name


def test_injected_searches_take_their_place_in_the_merged_timeline(monkeypatch):
    fix_draws(monkeypatch, which=0.0, when=0.5)
    after = inject_searches(make_batch(), POOL, 1.0)
    # Row 0 spans 10..50: age 10 + floor(0.5 * 41) = 30, that of a rec event, which stays newer.
    assert after["search_age_ms"][0].tolist() == [40, 30, 30, 10, 0, 0]
    assert after["search_row"][0].tolist() == [0, 2, 2, 1, 0, 0]
    assert after["search_query"][0].tolist() == [10, 12, 12, 11, 0, 0]
    assert after["search_mask"][0].tolist() == [1, 1, 1, 1, 0, 0]
    assert after["order"][0].tolist() == [5, 1, 9, 4, 3, 2, 0, 9, 9]
    # Row 1 has the searches of user 2; the first of others is row 0. 20 + floor(0.5 * 71) = 55.
    assert after["search_age_ms"][1].tolist() == [90, 60, 55, 55, 55, 20]
    assert after["search_row"][1].tolist() == [3, 4, 0, 0, 0, 5]
    assert after["order"][1].tolist() == [9, 9, 9, 5, 4, 3, 2, 1, 0]
    assert after["search_mask"][2].tolist() == [0] * 6  # nothing to add a share of
    assert is_injected(after, POOL)[:2].tolist() == [
        [False, True, True, False, False, False],
        [False, False, True, True, True, False],
    ]


@pytest.mark.parametrize(
    ("which", "first", "second"), [(0.0, 2, 0), (0.49, 3, 0), (0.5, 4, 1), (0.999, 5, 1)]
)
def test_own_searches_are_stepped_over(which, first, second, monkeypatch):
    fix_draws(monkeypatch, which, when=0.0)
    after = inject_searches(make_batch(), POOL, 0.25)
    assert set(after["search_row"][0][is_injected(after, POOL)[0]]) == {first}
    assert set(after["search_row"][1][is_injected(after, POOL)[1]]) == {second}


@pytest.mark.parametrize(
    ("share", "counts"), [(0.25, [1, 1, 0]), (0.5, [1, 2, 0]), (0.67, [2, 3, 0]), (1, [2, 3, 0])]
)
def test_counts_are_rounded_up_and_no_real_search_is_lost(share, counts):
    before = make_batch()
    after = inject_searches(before, POOL, share, seed=3)
    assert is_injected(after, POOL).sum(axis=1).tolist() == counts
    for row in range(2):
        real = (after["search_mask"][row] != 0) & ~is_injected(after, POOL)[row]
        kept = before["search_mask"][row] != 0
        for name in ("search_query", "search_row", "search_age_ms", "search_click"):
            np.testing.assert_array_equal(after[name][row][real], before[name][row][kept])


def test_a_click_on_the_target_is_left_out(monkeypatch):
    fix_draws(monkeypatch, which=0.25, when=0.0)  # search 3 for row 0, clicks 5 and 9
    after = inject_searches(make_batch(), POOL, 0.5)
    (injected,) = np.flatnonzero(is_injected(after, POOL)[0])
    assert after["search_click"][0][injected].tolist() == [5, 0]
    assert after["search_query"][0][injected] == 13


def test_draws_depend_on_seed_and_draw_and_row_alone():
    batch = make_batch()
    same = [inject_searches(batch, POOL, 1.0, seed=1, draw=2)["search_age_ms"] for _ in range(2)]
    np.testing.assert_array_equal(*same)
    half = {name: array[1:2] for name, array in batch.items()}
    alone = inject_searches(half, POOL, 1.0, seed=1, draw=2)["search_age_ms"]
    np.testing.assert_array_equal(alone[0], same[0][1])
    for other in ({"seed": 2, "draw": 2}, {"seed": 1, "draw": 3}):
        assert (inject_searches(batch, POOL, 1.0, **other)["search_age_ms"] != same[0]).any()


def test_times_lie_in_the_history_and_ranks_follow_them():
    batch = {name: np.repeat(array, 200, axis=0) for name, array in make_batch().items()}
    batch["row"] = np.arange(600)
    after = inject_searches(batch, POOL, 1.0)
    injected = is_injected(after, POOL)
    for user, low, high in ((1, 10, 50), (2, 20, 90)):
        rows = after["user"] == user
        ages = after["search_age_ms"][rows][injected[rows]]
        assert (ages.min(), ages.max()) == (low, high)
        others = after["search_row"][rows][injected[rows]]
        shares = np.bincount(others)[np.unique(others)] / len(others)
        np.testing.assert_allclose(shares, 1 / len(shares), atol=0.08)  # every search alike
    ages = np.concatenate([after["rec_age_ms"], after["search_age_ms"]], axis=1)
    real = np.concatenate([after["rec_mask"], after["search_mask"]], axis=1) != 0
    for order, age, mask in zip(after["order"], ages, real, strict=True):
        assert sorted(order[mask]) == list(range(mask.sum()))
        assert (np.diff(age[mask][np.argsort(order[mask])]) >= 0).all()
        assert (order[~mask] == M + 2 * N).all()


def test_nobody_else_has_searches():
    alone = POOL._replace(off=np.array([0, 0, 6, 6, 6]))
    batch = {name: array[:1] for name, array in make_batch().items()}
    for edit in (lambda: inject_searches(batch, alone, 0.5), lambda: swap_searches(batch, alone)):
        with pytest.raises(InputError, match="only one user has searches"):
            edit()
    with pytest.raises(ValueError, match=r"share 1\.5"):
        inject_searches(batch, POOL, 1.5)


def test_a_dropped_search_leaves_no_gap():
    after = drop_search(make_batch(), np.array([0, 2, -1]))
    assert after["search_row"].tolist() == [[1, 0, 0], [3, 4, 0], [0, 0, 0]]
    assert after["search_mask"].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert after["search_click"][0].tolist() == [[2, 3], [0, 0], [0, 0]]
    assert after["order"].tolist() == [
        [2, 1, 6, 0, 6, 6],
        [6, 6, 6, 1, 0, 6],
        [0, 6, 6, 6, 6, 6],
    ]
    newest = drop_search(make_batch(), np.array([1, -1, -1]))
    assert newest["order"][0].tolist() == [2, 0, 6, 1, 6, 6]
    assert newest["order"][1].tolist() == make_batch()["order"][1].tolist()


def test_swapped_searches_keep_their_slots(monkeypatch):
    after = swap_searches(make_batch(), POOL)
    # Newest for newest: user 1 gets the searches 4 and 5; user 2, with three, reads 0 and 1 round.
    assert after["search_query"].tolist() == [[14, 15, 0], [11, 10, 11], [0, 0, 0]]
    assert after["search_click"][1].tolist() == [[0, 3], [1, 0], [0, 3]]  # its target is item 2
    for name in ("search_row", "search_age_ms", "search_mask", "order", "rec_item"):
        np.testing.assert_array_equal(after[name], make_batch()[name])
    # User 3 has searches of nobody's: may get either user's.
    third = make_batch()
    third["search_mask"][2, 0] = 1
    got = {int(swap_searches(third, POOL, seed=s)["search_query"][2, 0]) for s in range(20)}
    assert got == {11, 15}


def test_pool_holds_the_first_clicks_of_every_search(tmp_path):
    write_dataset(tmp_path / "tiny", generate("tiny"), PrepareSettings())
    dataset = load_dataset(tmp_path / "tiny")
    pool = pool_searches(dataset.timeline, 2)
    off = dataset.search.click_off
    for search in (0, 7, len(dataset.search.user) - 1):
        clicked = dataset.search.click_item[off[search] : off[search + 1]][:2]
        assert [item for item in pool.click[search] if item] == clicked.tolist()
    assert len(pool.query) == len(dataset.search.user)
