"""Intervals and paired tests over users.

The user is the unit: rows of one user are drawn together (a user may have several). A value is
the mean over rows, so a resample is a ratio of sums: metric over the drawn users, by their rows.
All columns (metrics x protocols x systems) share the same draws; they are one matrix product.

Shapes: [n] rows  [U] users  [K] columns  [B] resamples  [F] sign flips
        [G] slices of the rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from common.data.hashing import draw_words
from common.errors import InputError
from common.ranking.metrics import METRICS, metrics_from_ranks
from common.ranking.ranks import RankTable

RESAMPLES = 2_000
MIN_USERS = 50  # with fewer, nothing can be concluded: an interval is wide, and not to be trusted
FLIPS = 10_000
_BOOTSTRAP, _FLIP = 32, 33  # streams of the counter-based generator
_BLOCK = 2**22  # draws at a time, 32 MB per array
_NORMAL = NormalDist()


class Intervals(NamedTuple):
    """Means with their bounds."""

    value: np.ndarray  # float64 [K], mean over rows
    low: np.ndarray  # float64 [K]; low <= value <= high
    high: np.ndarray  # float64 [K]


class Comparison(NamedTuple):
    """One metric of two systems on the same rows; the difference is second minus first."""

    first: float
    second: float
    difference: float
    low: float  # bounds of the difference, paired over users
    high: float
    p_value: float  # two-sided, sign flips of per-user differences
    relative: float  # difference / first; nan where first is 0
    effect: float  # mean / SD of per-user mean differences; nan where they are all equal
    better: float  # shares of users
    equal: float
    worse: float


def sum_by_user(users: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sums of each user's rows: float64 [U, K], and how many rows: float64 [U].

    users: int [n]; values: float64 [n, K]. Users are in ascending order.
    """
    distinct, index = np.unique(users, return_inverse=True)
    sums = np.zeros((len(distinct), values.shape[1]))
    np.add.at(sums, index, values)
    return sums, np.bincount(index).astype(np.float64)


def bca_intervals(
    users: np.ndarray,
    values: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """Bias-corrected and accelerated bootstrap intervals over users, all columns at once.

    users:  int [n], the user of each row
    values: float64 [n, K]
    The acceleration is that of the user jackknife. A column in which all users have the same
    mean gets low = high = value.
    Raises ValueError for no rows or for values that are not finite.
    Source: Efron, JASA 82 (1987); the same formulas as scipy.stats.bootstrap(method="BCa").
    """
    values = np.asarray(values, np.float64)
    if not len(values) or len(values) != len(users) or not np.isfinite(values).all():
        raise ValueError("intervals: need at least one row, a user per row, and finite values")
    sums, rows = sum_by_user(users, values)
    slices = np.zeros(values.shape[1], np.int64)
    return _bound_ratios(values.mean(axis=0), sums, rows[:, None], slices, resamples, seed, level)


def slice_intervals(
    users: np.ndarray,
    values: np.ndarray,
    masks: np.ndarray,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> Intervals:
    """`bca_intervals` of every column within every slice of the rows; the slices share the draws.

    users:  int [n]; values: float64 [n, K]
    masks:  bool [n, G], the rows of each slice; slices may overlap
    All users are drawn, and a resample of a slice has those of its users that were drawn: how
    large a slice would be in another sample is part of the noise.
    Returns arrays [G, K].
    Raises ValueError for a slice with rows of fewer than `MIN_USERS` users: resamples could miss
    them all.
    """
    few = [len(np.unique(users[mask])) < MIN_USERS for mask in masks.T]
    if any(few):
        raise ValueError(f"slice {few.index(True)}: has rows of fewer than {MIN_USERS} users")
    distinct, index = np.unique(users, return_inverse=True)
    shape = (masks.shape[1], values.shape[1])
    rows, _ = sum_by_user(users, masks.astype(np.float64))
    sums = np.zeros((len(distinct), *shape))
    for place, mask in enumerate(masks.T):
        np.add.at(sums[:, place], index[mask], values[mask])
    value = np.stack([values[mask].mean(axis=0) for mask in masks.T])
    slices = np.repeat(np.arange(shape[0]), shape[1])
    flat = sums.reshape(len(distinct), -1)
    bounds = _bound_ratios(value.ravel(), flat, rows, slices, resamples, seed, level)
    return Intervals(*(part.reshape(shape) for part in bounds))


def _bound_ratios(
    value: np.ndarray,
    sums: np.ndarray,
    rows: np.ndarray,
    slices: np.ndarray,
    resamples: int,
    seed: int,
    level: float,
) -> Intervals:
    """Intervals of the means `value` [K], each a sum over users by rows over users.

    sums: float64 [U, K]; rows: float64 [U, G]; slices: int64 [K], the column of `rows` that each
    column of `sums` is divided by.
    """
    low, high = value.copy(), value.copy()
    varied = np.flatnonzero(_varies(sums, rows, slices))
    if len(varied):
        sums, slices = sums[:, varied], slices[varied]
        drawn = _resample(sums, rows, slices, resamples, seed)
        accelerations = _accelerate(sums, rows, slices)
        for column, samples, acceleration in zip(varied, drawn.T, accelerations, strict=True):
            bounds = _bca_bounds(samples, value[column], float(acceleration), level)
            # With few users the bounds may both lie on one side of the value.
            low[column] = min(bounds[0], value[column])
            high[column] = max(bounds[1], value[column])
    return Intervals(value, low, high)


def _varies(sums: np.ndarray, rows: np.ndarray, slices: np.ndarray) -> np.ndarray:
    """bool [K]: columns in which the users of the slice differ in their means."""
    varies = np.zeros(len(slices), bool)
    for index in range(rows.shape[1]):
        columns, users = np.flatnonzero(slices == index), rows[:, index] > 0
        means = sums[np.ix_(users, columns)] / rows[users, index, None]
        # Equal values differ in their last bits after a sum and a division.
        varies[columns] = np.ptp(means, axis=0) > 1e-12 * np.abs(means).max(axis=0)
    return varies


def _resample(
    sums: np.ndarray, rows: np.ndarray, slices: np.ndarray, resamples: int, seed: int
) -> np.ndarray:
    """Means over rows of resampled users, float64 [B, K]."""
    n_users, width = sums.shape
    table = np.concatenate([sums, rows], axis=1)
    totals = np.empty((resamples, table.shape[1]))
    size = max(1, _BLOCK // n_users)
    for begin in range(0, resamples, size):
        block = np.arange(begin, min(begin + size, resamples))
        words = draw_words(seed, _BOOTSTRAP, block[:, None], np.arange(n_users))
        user = ((words >> np.uint64(32)) * np.uint64(n_users) >> np.uint64(32)).astype(np.int64)
        user += (block - begin)[:, None] * n_users
        counts = np.bincount(user.ravel(), minlength=len(block) * n_users)
        totals[block] = counts.reshape(len(block), n_users).astype(np.float64) @ table
    return totals[:, :width] / totals[:, width:][:, slices]


def _accelerate(sums: np.ndarray, rows: np.ndarray, slices: np.ndarray) -> np.ndarray:
    """Acceleration [K] from the values without one user each, in closed form."""
    if len(rows) < 2:
        return np.zeros(sums.shape[1])
    without = (sums.sum(axis=0) - sums) / (rows.sum(axis=0) - rows)[:, slices]
    away = without.mean(axis=0) - without
    scale = (away**2).sum(axis=0) ** 1.5
    return np.divide((away**3).sum(axis=0), 6 * scale, out=np.zeros(sums.shape[1]), where=scale > 0)


def _bca_bounds(
    samples: np.ndarray, value: float, acceleration: float, level: float
) -> tuple[float, float]:
    """Lower and upper bound from the resampled values [B] of one column."""
    below = ((samples < value).sum() + (samples <= value).sum()) / 2
    share = min(max(below / len(samples), 0.5 / len(samples)), 1 - 0.5 / len(samples))
    bias = _NORMAL.inv_cdf(share)
    quantiles = []
    for tail in ((1 - level) / 2, (1 + level) / 2):
        shifted = bias + _NORMAL.inv_cdf(tail)
        quantiles.append(_NORMAL.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(samples, quantiles)
    return float(low), float(high)


def compare_paired(
    first: RankTable,
    second: RankTable,
    first_candidates: str | None,
    second_candidates: str | None,
    *,
    metrics: Sequence[str] = METRICS,
    seed: int = 0,
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
) -> Mapping[str, Comparison]:
    """Compares two systems, user by user, on one task and protocol.

    first, second: ranks of the same rows
    first_candidates, second_candidates: sha256 of the candidate lists; None for the full ranking
    p = (1 + flips whose |difference| reaches the observed one) / (1 + flips), signs flipped per
    user; the interval is the BCa interval of the paired difference.
    Raises InputError when the rows or the candidates differ.
    Source: sign-flip randomisation as in Smucker et al., CIKM 2007, per user.
    """
    if first_candidates != second_candidates:
        raise InputError(
            f"comparison: candidate lists differ ({str(first_candidates)[:12]} and "
            f"{str(second_candidates)[:12]}); evaluate both systems on the same lists"
        )
    if not np.array_equal(first.row, second.row) or not np.array_equal(first.user, second.user):
        raise InputError(
            f"comparison: the systems rank different rows ({len(first.row)} and "
            f"{len(second.row)}); evaluate both on the same split and min_history"
        )
    each = [metrics_from_ranks(table.rank_low, table.rank_high) for table in (first, second)]
    before, after = (np.stack([rows[name] for name in metrics], axis=1) for rows in each)
    compared = compare_columns(
        first.user, before, after, seed=seed, resamples=resamples, flips=flips
    )
    return dict(zip(metrics, compared, strict=True))


def compare_columns(
    users: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
) -> list[Comparison]:
    """Compares values of the same rows, user by user: one comparison per column.

    users: int [n], the user of each row; before, after: float64 [n, K]
    Interval and p-value are those of `compare_paired`.
    """
    difference = after - before
    intervals = bca_intervals(users, difference, resamples=resamples, seed=seed)
    sums, rows = sum_by_user(users, difference)
    p_values = flip_signs(sums, flips=flips, seed=seed)
    means = sums / rows[:, None]
    result = []
    for index in range(before.shape[1]):
        base, change, user = before[:, index].mean(), intervals.value[index], means[:, index]
        deviation = user.std(ddof=1) if len(user) > 1 else 0.0
        compared = Comparison(
            first=float(base),
            second=float(after[:, index].mean()),
            difference=float(change),
            low=float(intervals.low[index]),
            high=float(intervals.high[index]),
            p_value=float(p_values[index]),
            relative=float(change / base) if base else float("nan"),
            effect=float(user.mean() / deviation) if deviation else float("nan"),
            better=float((user > 0).mean()),
            equal=float((user == 0).mean()),
            worse=float((user < 0).mean()),
        )
        result.append(compared)
    return result


def flip_signs(sums: np.ndarray, *, flips: int = FLIPS, seed: int = 0) -> np.ndarray:
    """Two-sided p-values [K] of zero differences, by flipping the signs of users at random.

    sums: float64 [U, K], the summed difference of each user.
    """
    n_users = len(sums)
    n_words = -(-n_users // 64)
    observed = np.abs(sums.sum(axis=0))
    # A flip that restores the observed sign pattern must count, whatever the order of summing.
    reach = observed - 1e-9 * np.abs(sums).sum(axis=0)
    hits = np.zeros(sums.shape[1])
    size = max(1, _BLOCK // n_users)
    for begin in range(0, flips, size):
        block = np.arange(begin, min(begin + size, flips))
        words = draw_words(seed, _FLIP, block[:, None], np.arange(n_words)).astype("<u8")
        bits = np.unpackbits(words.view(np.uint8), axis=1, count=n_users, bitorder="little")
        flipped = (1.0 - 2.0 * bits) @ sums
        hits += (np.abs(flipped) >= reach).sum(axis=0)
    return (1 + hits) / (1 + flips)
