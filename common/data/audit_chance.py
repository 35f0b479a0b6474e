"""What chance would give: rows to look at, random pairs, and how well one column tells another.

Nothing here is random: the order of rows is that of the counter-based words of
`common.data.hashing`, so an audit prints the same figures every time.

Shapes: [n] rows looked at  [p] pairs of rows
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from common.data.hashing import AUDIT, draw_words

MANY = 4_000  # rows of a part that are looked at, spread evenly: 6 ms for a column
_ROUNDS = 4  # random pairings that chance is the mean of
_NEAR = 100  # y counts as told when it is off by at most one part in so many of its values


class Share(NamedTuple):
    """How often something holds, and how often it would by chance."""

    share: float
    chance: float
    n: int  # rows or pairs that the share is of
    hits: np.ndarray  # bool, row by row where the figure is one of rows, else of shape [0]


NOTHING = Share(0.0, 0.0, 0, np.zeros(0, bool))


def spread_rows(rows: np.ndarray, most: int = MANY) -> np.ndarray:
    """All rows, or `most` of them, spread evenly over the table. rows: int64, ascending."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def pair_randomly(n: int, rounds: int = _ROUNDS) -> Iterator[np.ndarray]:
    """int64 [n], `rounds` times: another row for each row; no row is its own partner.

    All rows stand on a circle in a random order; in round k each gets the k-th after it.
    """
    order = np.argsort(draw_words(0, AUDIT, np.arange(n), 0), kind="stable")
    for step in range(1, min(rounds, n - 1) + 1):
        partner = np.empty(n, np.int64)
        partner[order] = np.roll(order, -step)
        yield partner


def tell_by_value(x: np.ndarray, *truths: np.ndarray) -> Share:
    """How often x is the answer itself.

    x:      float64 [n], NaN = unknown
    truths: float64 [n] each, forms of the answer, e.g. an item's number and its raw id as a number
    Chance: the same for the answers of other rows.
    """
    known = np.flatnonzero(~np.isnan(x))
    if len(known) < 2:
        return NOTHING
    x, truths = x[known], tuple(truth[known] for truth in truths)

    def equal(partner: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.any([x == truth[partner] for truth in truths], axis=0)
        return found

    own = equal(np.arange(len(x)))
    chance = [equal(partner).mean() for partner in pair_randomly(len(x))]
    hits = np.zeros(int(known[-1]) + 1, bool)
    hits[known[own]] = True
    return Share(float(own.mean()), float(np.mean(chance)), len(x), hits)


def tell_by_neighbour(x: np.ndarray, y: np.ndarray, *groups: np.ndarray) -> Share:
    """How often rows of equal or neighbouring x have the same y, or nearly: whatever x calls it.

    Rows are sorted by x, those of one x at random, and each is compared with the next. Their y
    count as the same up to 1 % of the distinct values of y, at least one. So any numbering that
    keeps the order, or any that repeats, is found; a broad trend is not.

    x:      float64 [n], NaN = unknown
    y:      integers [n], the answer
    groups: integers [n] each; two rows of one group are no pair, e.g. of one user
    Chance: the same for random pairs. Source: ours; a nearest-neighbour guess in one dimension.
    """
    known = np.flatnonzero(~np.isnan(x))
    if len(known) < 2 or (x[known] == x[known[0]]).all():
        return NOTHING
    x, groups = x[known], tuple(group[known] for group in groups)
    values, rank = np.unique(y[known], return_inverse=True)
    rank = rank.reshape(-1)
    near = max(1, len(values) // _NEAR)

    def agree(one: np.ndarray, other: np.ndarray) -> tuple[int, int]:
        apart = np.ones(len(one), bool)
        for group in groups:
            apart &= group[one] != group[other]
        close = np.abs(rank[one] - rank[other]) <= near
        return int((apart & close).sum()), int(apart.sum())

    order = np.lexsort((draw_words(0, AUDIT, np.arange(len(x)), 1), x))
    told, pairs = agree(order[:-1], order[1:])
    everyone = np.arange(len(x))
    by_chance = np.sum([agree(everyone, other) for other in pair_randomly(len(x))], axis=0)
    if not pairs or not by_chance[1]:
        return NOTHING
    return Share(told / pairs, float(by_chance[0] / by_chance[1]), pairs, np.zeros(0, bool))
