"""Two logs, one clock: what is said of resolutions, constant offsets and late searches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.clocks import Acts, compare_clocks, find_offsets

HOUR = 3_600_000
START = 1_700_000_000_123


def _acts(user, item, ts) -> Acts:
    return Acts(*(np.array(column, np.int64) for column in (user, item, ts)))


def _logs(offset: int, n: int = 40) -> tuple[Acts, Acts]:
    """n users who click in a search and buy 1 to n seconds after it, plus a constant."""
    user = np.arange(n)
    searched = START + user * 977_177
    return _acts(user, user % 7, searched + 1000 * (1 + user) + offset), _acts(
        user, user % 7, searched
    )


def test_a_log_with_one_clock_is_not_strange():
    rec, clicks = _logs(0)
    assert compare_clocks(rec, clicks, clicks.ts) == []


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (9 * HOUR, "about 9 h after their search"),
        (-9 * HOUR, "about 9 h before their search"),
        (-HOUR, "about 1 h before their search"),
        (-30 * 24 * HOUR, "about 30 d before their search"),
        (5 * HOUR + HOUR // 2, "about 5 h 30 min after their search"),
    ],
)
def test_a_constant_offset_is_told(offset: int, words: str):
    rec, clicks = _logs(offset, 5)
    [line] = compare_clocks(rec, clicks, clicks.ts, ("a.csv", "b.csv"))
    assert line == (
        f"warning: of 5 clicks in b.csv that are also in a.csv, 100% stand there {words}: do both "
        "use one time zone and one clock?"
    )


def test_searches_that_follow_by_no_constant_are_told():
    rec, clicks = _logs(0)
    late = clicks._replace(ts=rec.ts + 60_000 * (1 + np.arange(40) ** 2))
    [line] = compare_clocks(rec, late, late.ts)
    assert "100% stand there before their search" in line


def test_logs_that_have_nothing_in_common_are_not_strange():
    """Half of the interactions come before the search then."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        rec, clicks = (
            _acts(rng.integers(30, size=n), rng.integers(9, size=n), rng.integers(10**10, size=n))
            for n in (900, 300)
        )
        assert compare_clocks(rec, clicks, clicks.ts) == []


def test_different_resolutions_are_told():
    rec, clicks = _logs(0)
    days = clicks.ts // (24 * HOUR) * 24 * HOUR
    [line, *_] = compare_clocks(rec, clicks._replace(ts=days), days, ("a", "b"))
    assert line == (
        "warning: times of b are whole days, those of a are milliseconds: which of two events of "
        "one day came first is not known"
    )
    assert compare_clocks(rec, clicks, days[:2]) == []  # two may fall on midnights by accident


def test_a_clock_of_its_own_beside_real_times_is_told():
    rec, clicks = _logs(0)
    own = np.arange(40) * 1000 + 7
    lines = compare_clocks(rec, clicks._replace(ts=own), own)
    assert any("small numbers" in line for line in lines)


EVENTS = st.lists(st.tuples(*[st.integers(0, 2)] * 2, st.integers(0, 9)), max_size=8)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(bought=EVENTS, clicked=EVENTS)
def test_offsets_are_those_of_a_naive_loop(bought, clicked):
    expected = []
    for user, item, ts in clicked:
        offsets = [t - ts for u, i, t in bought if (u, i) == (user, item)]
        if offsets:
            expected.append(min(offsets, key=lambda offset: (abs(offset), -offset)))
    logs = [
        _acts(*zip(*log, strict=True)) if log else _acts([], [], []) for log in (bought, clicked)
    ]
    assert sorted(find_offsets(*logs).tolist()) == sorted(expected)
