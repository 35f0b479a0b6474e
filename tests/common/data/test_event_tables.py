"""Order and numbers of events, and what the clock can tell apart."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.event_tables import (
    detect_resolution,
    number_events,
    share_ties,
    tabulate_search,
)


def test_events_of_one_time_are_numbered_as_they_came():
    user, ts = np.array([2, 1, 2, 2, 1]), np.array([5, 9, 5, 4, 9])
    order, seq = number_events(user, ts, np.array([3, 8, 1, 2, 4]))
    assert order.tolist() == [4, 1, 3, 2, 0]
    assert seq.tolist() == [0, 1, 0, 0, 1]


@settings(derandomize=True, deadline=None, max_examples=50)
@given(events=st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), max_size=20))
def test_numbers_are_as_counted_by_hand(events: list[tuple[int, int]]):
    user, ts = np.array(events, np.int64).reshape(-1, 2).T
    order, seq = number_events(user, ts, np.arange(len(events)))
    assert [events[i] for i in order] == sorted(events)
    assert seq.tolist() == [sorted(events)[:i].count(e) for i, e in enumerate(sorted(events))]


@pytest.mark.parametrize(
    ("times", "resolution"),
    [
        ([0, 86_400_000], "day"),
        ([60_000, 86_400_000], "min"),
        ([61_000], "s"),
        ([61_000, 1], "ms"),
    ],
)
def test_resolution(times: list[int], resolution: str):
    assert detect_resolution(np.array(times)) == resolution


def test_ties_are_within_a_user():
    assert share_ties(np.array([1, 1, 2, 2, 2]), np.array([5, 5, 5, 6, 7])) == 2 / 5
    assert share_ties(np.array([1, 1, 1]), np.array([5, 5, 5])) == 1.0
    assert share_ties(np.zeros(0), np.zeros(0)) == 0.0


def test_clicked_items_are_taken_from_those_shown():
    one = np.ones(3, np.int64)
    search = tabulate_search(
        one, one, one, one, np.array([0, 2, 2, 5]), np.array([7, 8, 4, 5, 6]),
        np.array([False, True, True, False, True]), np.array([30, 40, 60]),
        source="user", synthetic=False,
    )  # fmt: skip
    assert search["shown"].to_pylist() == [[7, 8], [], [4, 5, 6]]
    assert search["clicks"].to_pylist() == [[0, 1], [], [1, 0, 1]]
    assert search["clicked"].to_pylist() == [[8], [], [4, 6]]
    assert search["click_ts"].to_pylist() == [[30], [], [40, 60]]
    assert search["session"].to_pylist() == [1, 2, 3]
