import numpy as np
import pytest
from scipy import stats

from common.errors import InputError
from common.ranking.intervals import bca_intervals, compare_paired, flip_signs, sum_by_user
from common.ranking.ranks import RankTable


@pytest.mark.parametrize("kind", ["skewed", "hits", "rare"])
def test_intervals_agree_with_scipy(kind):
    """Within the Monte-Carlo error of 20,000 resamples on both sides."""
    rng = np.random.default_rng(0)
    values = {
        "skewed": rng.exponential(size=80) ** 2,
        "hits": (rng.random(200) < 0.2).astype(float),
        "rare": (rng.random(400) < 0.02).astype(float),
    }[kind]
    ours = bca_intervals(np.arange(len(values)), values[:, None], resamples=20_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=rng)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.value[0] == pytest.approx(values.mean())
    assert abs(ours.low[0] - theirs.confidence_interval.low) < 0.04 * width
    assert abs(ours.high[0] - theirs.confidence_interval.high) < 0.04 * width


def test_rows_of_one_user_are_drawn_together():
    """Ten copies of every row of a user tell nothing new; as users of their own they would."""
    rng = np.random.default_rng(1)
    values = rng.random(60)
    once = bca_intervals(np.arange(60), values[:, None])
    copies = bca_intervals(np.repeat(np.arange(60), 10), np.repeat(values, 10)[:, None])
    strangers = bca_intervals(np.arange(600), np.repeat(values, 10)[:, None])
    assert copies.low == pytest.approx(once.low)
    assert copies.high == pytest.approx(once.high)
    assert strangers.high - strangers.low < 0.5 * (copies.high - copies.low)


def test_users_weigh_by_their_rows():
    """scipy resamples users as (sum, rows) pairs; the statistic is the ratio of the sums."""
    rng = np.random.default_rng(2)
    users = np.repeat(np.arange(70), rng.integers(1, 6, 70))
    values = rng.random(len(users)) + (users % 7 == 0)
    ours = bca_intervals(users, values[:, None], resamples=20_000)
    sums, rows = sum_by_user(users, values[:, None])
    theirs = stats.bootstrap(
        (sums[:, 0], rows),
        lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        method="BCa",
        rng=rng,
    ).confidence_interval
    assert ours.value[0] == pytest.approx(values.mean())
    assert abs(ours.low[0] - theirs.low) < 0.04 * (theirs.high - theirs.low)
    assert abs(ours.high[0] - theirs.high) < 0.04 * (theirs.high - theirs.low)


def test_equal_users_give_a_point_and_columns_do_not_disturb_each_other():
    rng = np.random.default_rng(3)
    users = np.repeat(np.arange(40), 3)
    values = np.stack([np.full(120, 1 / 3), rng.random(120), np.zeros(120)], axis=1)
    got = bca_intervals(users, values)
    for column in (0, 2):
        assert got.low[column] == got.value[column] == got.high[column]
    alone = bca_intervals(users, values[:, 1:2])
    assert got.low[1] == pytest.approx(alone.low[0], rel=1e-12)
    assert (got.low <= got.value).all()
    assert (got.value <= got.high).all()
    assert bca_intervals(np.zeros(5), rng.random((5, 1))).low.shape == (1,)  # one user: a point


def test_the_seed_decides_the_interval():
    values = np.random.default_rng(4).random((50, 1))
    one, same, other = (bca_intervals(np.arange(50), values, seed=seed) for seed in (0, 0, 1))
    assert one.low == same.low
    assert one.low != other.low


def test_empty_and_broken_values_are_refused():
    for users, values in (([], np.zeros((0, 1))), ([1], [[np.nan]]), ([1, 2], [[1.0]])):
        with pytest.raises(ValueError, match="at least one row"):
            bca_intervals(np.array(users), np.array(values))


def test_sign_flips_agree_with_scipy_and_with_counting():
    difference = np.array([3.0, -1.0, 2.0, 2.0, 5.0, -2.0])
    signs = np.array(np.meshgrid(*[[1, -1]] * 6)).reshape(6, -1).T
    exact = (np.abs(signs @ difference) >= 9.0 - 1e-9).mean()
    theirs = stats.permutation_test(
        (difference,), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert theirs.pvalue == pytest.approx(exact)
    ours = flip_signs(difference[:, None], flips=20_000)
    # four standard errors of a share over 20,000 flips
    assert abs(ours[0] - exact) < 4 * np.sqrt(exact * (1 - exact) / 20_000)


def test_equal_systems_are_rejected_at_the_nominal_rate():
    """1,000 pairs of equal systems at 5 %: between 3.5 and 6.5 % rejections."""
    rng = np.random.default_rng(5)
    p_values = flip_signs(rng.normal(size=(100, 1_000)), flips=1_000)
    assert 0.035 <= (p_values <= 0.05).mean() <= 0.065


def table(ranks, users=None):
    ranks = np.asarray(ranks, np.int32)
    users = np.arange(len(ranks)) if users is None else users
    return RankTable(np.arange(len(ranks)), np.asarray(users, np.int32), ranks, ranks)


def test_a_paired_comparison_says_how_much_and_how_sure():
    rng = np.random.default_rng(6)
    before = rng.integers(1, 40, 300)
    after = np.maximum(1, before - rng.integers(-1, 6, 300))
    got = compare_paired(table(before), table(after), "abc", "abc", flips=2_000)
    assert tuple(got)[:2] == ("HR@1", "HR@5")
    entry = got["MRR"]
    assert entry.difference == pytest.approx(entry.second - entry.first)
    assert entry.difference == pytest.approx((1 / after - 1 / before).mean())
    assert 0 < entry.low <= entry.difference <= entry.high
    assert entry.p_value == 1 / 2_001
    assert entry.relative == pytest.approx(entry.difference / entry.first)
    assert entry.better == (after < before).mean()
    assert entry.better + entry.equal + entry.worse == pytest.approx(1)
    change = 1 / after - 1 / before
    assert entry.effect == pytest.approx(change.mean() / change.std(ddof=1))


def test_a_system_does_not_differ_from_itself():
    got = compare_paired(table([1, 5, 9]), table([1, 5, 9]), None, None)["NDCG@10"]
    assert (got.difference, got.low, got.high, got.p_value, got.equal) == (0, 0, 0, 1, 1)
    assert np.isnan(got.effect)


def test_other_rows_or_other_candidates_are_refused():
    with pytest.raises(InputError, match="candidate lists differ"):
        compare_paired(table([1]), table([2]), "aaa", "bbb")
    with pytest.raises(InputError, match=r"different rows \(2 and 1\)"):
        compare_paired(table([1, 2]), table([2]), "aaa", "aaa")
    with pytest.raises(InputError, match="different rows"):
        compare_paired(table([1, 2], [4, 4]), table([1, 2], [4, 5]), "aaa", "aaa")
