"""Estimators of mutual information in nats, in numpy; none of them knows a model.

Each gives the terms of single rows wherever it is a mean over rows, so that intervals over users
can be made of them.

Shapes: [n] rows  [a], [b] widths of two vectors  [k] principal directions  [U] users
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

NEIGHBOURS = 5
_EULER = 0.5772156649015329
_RIDGE = 1e-6  # keeps a perfect score's scale finite; costs less than 1e-4 nats
_SHRINK = 1e-9  # of the variances: a vector that is a function of the other stays finite
_BLOCK = 512  # rows of a distance matrix at a time


class Calibration(NamedTuple):
    """The probability of a positive is sigmoid(scale * score + shift)."""

    scale: float
    shift: float


class Whitening(NamedTuple):
    """Principal directions of some rows, each scaled to unit variance."""

    mean: np.ndarray  # float64 [a]
    matrix: np.ndarray  # float64 [a, k], largest variance first

    def apply(self, rows: np.ndarray, width: int) -> np.ndarray:
        """float64 [n, width or fewer]: the first directions of rows [n, a]."""
        return (np.asarray(rows, np.float64) - self.mean) @ self.matrix[:, :width]


def entropy_of(labels: np.ndarray) -> float:
    """H(Y) of the share of ones in labels [n]; 0.5004 at one in five."""
    share = float(np.mean(labels))
    return float(-sum(p * np.log(p) for p in (share, 1 - share) if p > 0))


def fit_calibration(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """The scale and shift of the smallest cross-entropy; scores float [n], labels 0 or 1 [n].

    Newton's method with halved steps; the problem is convex. A shift is fitted beside the
    temperature so that a score which knows nothing is worth 0 and not less, whatever its level.
    """
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels, np.float64)
    centre, spread = scores.mean(), scores.std() or 1.0
    inputs = np.stack([(scores - centre) / spread, np.ones(len(scores))], axis=1)

    def loss(weights: np.ndarray) -> float:
        logits = inputs @ weights
        penalty = _RIDGE / 2 * weights @ weights
        return float((np.logaddexp(0, logits) - labels * logits).mean() + penalty)

    weights = np.zeros(2)
    for _ in range(100):
        share = _sigmoid(inputs @ weights)
        gradient = inputs.T @ (share - labels) / len(labels) + _RIDGE * weights
        curvature = (inputs * (share * (1 - share))[:, None]).T @ inputs / len(labels)
        step = np.linalg.solve(curvature + _RIDGE * np.eye(2), gradient)
        size = 1.0
        while loss(weights - size * step) > loss(weights) and size > 1e-6:
            size /= 2
        weights = weights - size * step
        if np.abs(gradient).max() < 1e-10:
            break
    return Calibration(float(weights[0] / spread), float(weights[1] - weights[0] * centre / spread))


def label_terms(calibration: Calibration, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Terms float64 [n] of the label bound H(Y) - CE; their mean is at most I(X; Y).

    calibration: fitted on other rows; H(Y) is that of the share of positives in `labels`.
    Source: the cross-entropy of any predictor is at least H(Y | X).
    """
    logits = calibration.scale * np.asarray(scores, np.float64) + calibration.shift
    return entropy_of(labels) - (np.logaddexp(0, logits) - np.asarray(labels) * logits)


def fit_whitening(rows: np.ndarray) -> Whitening:
    """Principal directions of rows [n, a], without those that hardly vary."""
    rows = np.asarray(rows, np.float64)
    mean = rows.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(rows.T, bias=True).reshape(len(mean), len(mean)))
    values, vectors = values[::-1], vectors[:, ::-1]
    kept = values > max(1e-10 * values[0], 1e-30)
    return Whitening(mean, vectors[:, kept] / np.sqrt(values[kept]))


def gaussian_information(covariance: np.ndarray, width: int) -> float:
    """I of two jointly Gaussian vectors: 1/2 (log det A + log det B - log det of both).

    covariance: float64 [a + b, a + b]; width: a
    """
    parts = (covariance[:width, :width], covariance[width:, width:], covariance)
    first, second, both = (np.linalg.slogdet(part)[1] for part in parts)
    return float(first + second - both) / 2


def gaussian_terms(
    first: np.ndarray, second: np.ndarray, users: np.ndarray, draws: int, seed: int
) -> np.ndarray:
    """Terms float64 [n] of `gaussian_information` of rows [n, a] and [n, b], its bias taken off.

    users: int [n]; draws: resamples of users that the bias is estimated from
    A term is log p(x, h) / p(x) p(h) of the fitted Gaussians: their mean is the estimate, and their
    spread over users its error. A covariance of few rows promises too much, about a b / 2 n; a
    resample promises as much again, so the mean of resamples minus the estimate is taken off.
    """
    rows = np.concatenate([first, second, np.ones((len(first), 1))], axis=1)
    order = np.argsort(users, kind="stable")
    starts = np.flatnonzero(np.diff(users[order])) + 1
    moments = np.stack([part.T @ part for part in np.split(rows[order], starts)])
    covariance, width = _covariance(moments.sum(axis=0)), first.shape[1]
    count = len(moments)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)
    totals = times.astype(np.float64) @ moments.reshape(count, -1)
    resampled = [
        gaussian_information(_covariance(total), width)
        for total in totals.reshape(draws, *moments.shape[1:])
    ]
    value = gaussian_information(covariance, width)
    away = rows[:, :-1] - rows[:, :-1].mean(axis=0)
    both, one, other = (
        (away[:, part] * np.linalg.solve(covariance[part, part], away[:, part].T).T).sum(axis=1)
        for part in (slice(None), slice(width), slice(width, None))
    )
    return value + (one + other - both) / 2 - (float(np.mean(resampled)) - value)


def _covariance(moments: np.ndarray) -> np.ndarray:
    """Covariance [a, a] from summed products [a + 1, a + 1] of rows that end in a one."""
    mean = moments[-1, :-1] / moments[-1, -1]
    covariance = moments[:-1, :-1] / moments[-1, -1] - np.outer(mean, mean)
    return covariance + np.diag(_SHRINK * np.maximum(np.diag(covariance), 1e-30))


def ksg_terms(first: np.ndarray, second: np.ndarray, neighbours: int = NEIGHBOURS) -> np.ndarray:
    """Terms float64 [n] of the nearest-neighbour estimate of I between rows [n, a] and [n, b].

    Distances are Euclidean in each vector and the larger of the two for both together, compared
    by brute force: in 16 or 32 dimensions no tree is faster. It promises too little where I is
    large beside what n rows can show.
    Source: Kraskov, Stoegbauer and Grassberger, Phys. Rev. E 69 (2004), algorithm 1.
    """
    vectors = [np.asarray(part, np.float64) for part in (first, second)]
    count = len(vectors[0])
    if count <= neighbours:
        raise ValueError(f"nearest neighbours: {count} rows for {neighbours} neighbours")
    digamma = np.concatenate([[0.0], -_EULER + np.cumsum([0.0, *(1 / np.arange(1, count))])])
    terms = np.empty(count)
    for start in range(0, count, _BLOCK):
        block = np.arange(start, min(start + _BLOCK, count))
        apart = [_square_distances(part[block], part) for part in vectors]
        for distances in apart:
            distances[np.arange(len(block)), block] = np.inf
        both = np.maximum(*apart)
        radius = np.partition(both, neighbours - 1, axis=1)[:, neighbours - 1, None]
        near = [(distances < radius).sum(axis=1) for distances in apart]
        terms[block] = digamma[neighbours] + digamma[count]
        terms[block] -= digamma[near[0] + 1] + digamma[near[1] + 1]
    return terms


def _square_distances(some: np.ndarray, rows: np.ndarray) -> np.ndarray:
    lengths = (some**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1)
    return np.maximum(lengths - 2 * some @ rows.T, 0)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0, -logits))
