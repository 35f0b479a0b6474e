"""How far two groups of points lie apart, and whether two masks are the same, in numpy.

Shapes: [n] points  [w] width
"""

from __future__ import annotations

import numpy as np

MASK_SHARE = 0.05  # of the parameters
# Of two random masks: what both hold over what either holds.
RANDOM_OVERLAP = MASK_SHARE / (2 - MASK_SHARE)
_RIDGE = 1e-3  # of the points' mean variance


def project(points: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """The first two principal coordinates float64 [n, 2], and their shares of the variance."""
    away = np.asarray(points, np.float64) - np.mean(points, axis=0, dtype=np.float64)
    left, sizes, _ = np.linalg.svd(away, full_matrices=False)
    shares = sizes**2 / max(float((sizes**2).sum()), 1e-30)
    coordinates = np.zeros((len(points), 2))
    count = min(2, len(sizes))
    coordinates[:, :count] = (left * sizes)[:, :count]
    return coordinates, [float(share) for share in shares[:2]]


def share_between(points: np.ndarray, groups: np.ndarray) -> float:
    """The share of the variance of points [n, w] that lies between two groups, bool [n].

    Without any difference it is about 1 / (n - 1).
    """
    points = np.asarray(points, np.float64)
    mean = points.mean(axis=0)
    total = ((points - mean) ** 2).sum()
    between = sum(
        part.sum() * ((points[part].mean(axis=0) - mean) ** 2).sum() for part in (groups, ~groups)
    )
    return float(between / total) if total > 0 else 0.0


def silhouette(points: np.ndarray, groups: np.ndarray) -> float:
    """Mean silhouette of two groups, bool [n], of at least two points [n, w] each.

    1 = two far spots, 0 = one cloud; Euclidean distances.
    Source: Rousseeuw, Journal of Computational and Applied Mathematics 20 (1987).
    """
    points = np.asarray(points, np.float64)
    lengths = (points**2).sum(axis=1)
    apart = np.sqrt(np.maximum(lengths[:, None] + lengths - 2 * points @ points.T, 0))
    np.fill_diagonal(apart, 0)
    means = np.stack([apart[:, part].sum(axis=1) / part.sum() for part in (groups, ~groups)])
    own, other = np.where(groups, means, means[::-1])
    size = np.where(groups, groups.sum(), (~groups).sum())
    own = own * size / (size - 1)  # without the point itself
    widest = np.maximum(own, other)
    return float(np.divide(other - own, widest, out=np.zeros_like(own), where=widest > 0).mean())


def mask_largest(values: np.ndarray, share: float = MASK_SHARE) -> np.ndarray:
    """bool [w]: the `share` largest of values [w]; of equal ones the first."""
    mask = np.zeros(len(values), bool)
    mask[np.argsort(-values, kind="stable")[: max(1, round(share * len(values)))]] = True
    return mask


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Jaccard index of two masks, bool [w]."""
    return float((first & second).sum() / max(1, (first | second).sum()))


def probe_groups(points: np.ndarray, groups: np.ndarray, fit: np.ndarray) -> float:
    """Share of points that a linear rule puts in the right group; groups are equally large.

    points [n, w]; groups, fit: bool [n]; the rule is fitted on the points of `fit` by least
    squares and judged on the others.
    """
    points = np.asarray(points, np.float64)
    away = points - points[fit].mean(axis=0)
    inputs = np.concatenate([away, np.ones((len(points), 1))], axis=1)
    square = inputs[fit].T @ inputs[fit]
    square[:-1, :-1] += (
        _RIDGE * np.trace(square[:-1, :-1]) / points.shape[1] * np.eye(len(square) - 1)
    )
    weights = np.linalg.solve(square, inputs[fit].T @ np.where(groups[fit], 1.0, -1.0))
    return float(((inputs[~fit] @ weights > 0) == groups[~fit]).mean())
