"""Figures of the audit against values worked by hand."""

import numpy as np
import pytest

from common.data.audit_chance import (
    NOTHING,
    Share,
    pair_randomly,
    spread_rows,
    tell_by_neighbour,
    tell_by_value,
)
from common.data.audit_columns import find_before
from common.data.audit_faults import read_log
from common.data.audit_limits import LIMITS, NEVER, Measure, find_approach, find_level, judge
from common.data.audit_moments import find_gaps
from common.data.audit_offsets import STEP, find_peak
from common.data.audit_twins import find_alike
from common.data.candidates import Ever
from common.data.hashing import draw_words

HOUR = 3_600_000


def _measure(share, chance, n, key=("L20", "own/value")):
    return Measure(*key, "rec_test", "x is the target", Share(share, chance, n, np.zeros(0, bool)))


def _spread(n, below):
    """n numbers in [0, below), in no order."""
    return (draw_words(7, 0, np.arange(n), 0) % np.uint64(below)).astype(np.int64)


# --- chance


@pytest.mark.parametrize("n", [2, 3, 10])
def test_nobody_is_paired_with_himself(n):
    rounds = list(pair_randomly(n))
    assert len(rounds) == min(4, n - 1)
    for partner in rounds:
        assert sorted(partner) == list(range(n))
        assert (partner != np.arange(n)).all()
    assert len({tuple(partner) for partner in rounds}) == len(rounds)


def test_rows_are_spread_over_the_table():
    rows = np.arange(100, 200)
    assert spread_rows(rows, 100) is rows
    assert spread_rows(rows, 4).tolist() == [100, 133, 166, 199]


def test_a_value_that_is_the_answer():
    x = np.array([5.0, 6.0, np.nan, 9.0])
    number, raw = np.array([5.0, 1.0, 2.0, 3.0]), np.array([50.0, 6.0, 7.0, np.nan])
    found = tell_by_value(x, number, raw)
    # Row 1 gives the number, row 2 the raw id, row 3 nothing, row 4 is wrong.
    assert (found.share, found.n) == (pytest.approx(2 / 3), 3)
    assert found.hits.tolist() == [True, True, False, False]
    assert found.chance == 0  # no other row has either as its answer


def test_the_chance_of_a_column_of_few_values():
    """Half of all rows are right, and so are half of all pairs."""
    x = np.arange(1000) % 2 + 1.0
    found = tell_by_value(x, np.ones(1000), np.full(1000, np.nan))
    assert found.share == found.chance == 0.5


@pytest.mark.parametrize("rename", [lambda y: y, lambda y: -3 * y, lambda y: y**2, lambda y: -y])
def test_a_column_that_renames_the_answer(rename):
    y = np.arange(200)[np.argsort(np.arange(200) * 67 % 200)]
    found = tell_by_neighbour(rename(y.astype(np.float64)), y)
    assert (found.share, found.n) == (1.0, 199)
    assert found.chance == pytest.approx(5 / 200, abs=0.03)  # at most 2 apart, of 200


def test_a_column_of_codes_that_repeat():
    """Any code will do where another user has the same: four rows of each of 50 answers."""
    y = np.arange(200) % 50
    code = (y * 7919 % 50).astype(np.float64)
    found = tell_by_neighbour(code, y, np.arange(200))
    assert found.share >= 150 / 199  # three of four neighbours share their code
    assert found.chance < 0.15
    # The rows of one user do not vouch for each other.
    assert tell_by_neighbour(code, y, y).n == 49


def test_a_constant_tells_nothing():
    assert tell_by_neighbour(np.ones(50), np.arange(50)) is NOTHING
    assert tell_by_neighbour(np.full(50, np.nan), np.arange(50)) is NOTHING


# --- limits


def test_a_limit_is_an_excess_that_few_rows_do_not_have_by_accident():
    assert find_level(_measure(0.019, 0.0, 10_000)) == ""
    assert find_level(_measure(0.021, 0.0, 10_000)) == "look"
    assert find_level(_measure(0.30, 0.0, 10_000)) == "leak"
    assert find_level(_measure(0.30, 0.29, 10_000)) == ""
    # Five of ten rows are fewer than six; seven of ten are enough.
    assert find_level(_measure(0.5, 0.0, 10)) == ""
    assert find_level(_measure(0.7, 0.0, 10)) == "leak"
    # 1,000 rows at a chance of one half scatter by 1.6 points: six times that is 9.5.
    assert find_level(_measure(0.59, 0.5, 1_000)) == ""
    assert find_level(_measure(0.60, 0.5, 1_000)) == "look"


def test_candidates_are_judged_on_both_sides():
    assert find_level(_measure(0.1, 0.5, 10_000, ("L23", "odd ids"))) == "leak"
    assert find_level(_measure(0.1, 0.5, 10_000)) == ""


def test_a_figure_of_nothing_is_no_figure(make_dataset, rec_events, search_events):
    log = read_log(make_dataset(rec_events([(1, 1, 0, 1, 1)]), search_events([])))
    nothing = Measure("L17", "query/id", "rec_test", "none", NOTHING)
    assert find_approach(nothing) == 0
    assert judge(log, [nothing]) == ([], [], [])


def test_every_limit_asks_more_for_a_leak_than_for_a_look():
    assert all(0 < limit.look < limit.leak <= NEVER for limit in LIMITS.values())


# --- what the figures are made of


@pytest.fixture
def log(rec_events, search_events, make_dataset):
    """User 1: shown 9 and takes 5 at 1,000, takes 6 at 3,000, 5 again at 9,000; searches at 2,000
    and clicks 6 at 2,500. User 2: takes 5 at 8,500."""
    rec = rec_events(
        [(1, 1_000, 0, 9, 0), (1, 1_000, 1, 5, 1), (1, 3_000, 0, 6, 1), (1, 9_000, 0, 5, 1),
         (2, 8_500, 0, 5, 1)]
    )  # fmt: skip
    return read_log(make_dataset(rec, search_events([(1, 2_000, 0, 1, ((6, 2_500),))])))


def test_the_event_before_is_one_that_a_history_has(log):
    rows = np.array([1, 2, 3, 4])
    # Row 1 has only the exposure of its own time before it, user 2 nothing.
    assert find_before(log, "rec", rows, "rec").tolist() == [-1, 1, 2, -1]
    assert find_before(log, "rec", rows, "search").tolist() == [-1, 0, 0, -1]
    assert find_before(log, "search", np.array([0]), "rec").tolist() == [1]


def test_the_gap_since_the_user_took_the_item(log):
    # Item 6 was clicked 500 ms before, item 5 taken 8 s before; user 2 did neither.
    assert find_gaps(log, "rec", np.array([1, 2, 3, 4])).tolist() == [0, 500, 8_000, 0]


def test_users_with_one_set_of_items_meet():
    sets = [[], [1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [1, 2, 3, 4, 5], [11, 12, 13, 14, 15]]
    off = np.cumsum([0, *map(len, sets)])
    ever = Ever(off, np.concatenate([np.array(s, np.int32) for s in sets]))
    one, other = find_alike(ever, np.arange(1, 5))
    assert (one.tolist(), other.tolist()) == ([1], [3])
    assert find_alike(ever, np.zeros(0, np.int64))[0].size == 0


@pytest.mark.parametrize("shift", [0, 9 * HOUR, -9 * HOUR, 40 * 24 * HOUR])
def test_the_peak_of_a_shifted_clock(shift):
    """30 users search a minute before each of five purchases, at odd times."""
    user = np.repeat(np.arange(1, 31), 5)
    ts = 10**12 + _spread(150, 90 * 24 * HOUR)
    ts = ts[np.lexsort((ts, user))]
    share, peak = find_peak(user, ts, user, ts - 60_000 - shift)
    if not shift:
        assert share is NOTHING
        return
    assert (share.share, share.n) == (1.0, 30)
    assert share.chance < 0.2
    assert abs(peak - shift) <= STEP


def test_a_morning_and_an_evening_are_no_shift():
    """Searches at 8:00, purchases between 17:00 and 23:00: a hill, not a peak."""
    days = np.tile(np.arange(40), 50) * 24 * HOUR
    user = np.repeat(np.arange(1, 51), 40)
    evening = 17 * HOUR + _spread(2_000, 6 * HOUR)
    assert find_peak(user, days + evening, user, days + 8 * HOUR)[0] is NOTHING
