"""HR@k, NDCG@k and MRR from ranks, in closed form under ties.

With one positive per row the ideal DCG is 1 and HR equals recall. A tied positive counts with its
mean over all orders of the tied candidates (policy "expected"); "optimistic" and "pessimistic"
are its best and its worst order.

Shapes: [B] rows of scores  [C] candidates  [n] ranked rows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from common.ranking.ranks import Ranks, count_ranks

HIT_CUTS = (1, 5, 10, 20, 50)
GAIN_CUTS = (5, 10, 20)
METRICS = (*(f"HR@{k}" for k in HIT_CUTS), *(f"NDCG@{k}" for k in GAIN_CUTS), "MRR")
POLICIES = ("expected", "optimistic", "pessimistic")


def metrics_from_ranks(
    rank_low: np.ndarray,
    rank_high: np.ndarray,
    *,
    policy: str = "expected",
    hit_cuts: Sequence[int] = HIT_CUTS,
    gain_cuts: Sequence[int] = GAIN_CUTS,
) -> dict[str, np.ndarray]:
    """Metrics of each row from its best and worst rank.

    rank_low, rank_high: int [n], 1-based
    hit_cuts, gain_cuts: the k of HR@k and of NDCG@k
    Returns {"HR@1": float64 [n], ..., "NDCG@5": ..., "MRR": ...}, in this order.
    Raises ValueError for ranks below 1, rank_high < rank_low, a cut below 1, an unknown policy.
    Source: ours; means over tied orders as in McSherry and Najork, ECIR 2008.
    """
    low, high = np.asarray(rank_low, np.int64), np.asarray(rank_high, np.int64)
    if policy not in POLICIES:
        raise ValueError(f"policy {policy!r}: need one of {', '.join(POLICIES)}")
    if low.shape != high.shape or (low < 1).any() or (high < low).any():
        raise ValueError("ranks: need 1 <= rank_low <= rank_high in every row")
    if min((*hit_cuts, *gain_cuts), default=1) < 1:
        raise ValueError("cuts: every k must be at least 1")
    if policy == "optimistic":
        high = low
    elif policy == "pessimistic":
        low = high
    ties = high - low + 1
    metrics = {f"HR@{k}": np.clip(k - low + 1, 0, ties) / ties for k in hit_cuts}
    discount = 1 / np.log2(np.arange(2, max(gain_cuts, default=1) + 2))
    for k in gain_cuts:
        metrics[f"NDCG@{k}"] = _mean_gain(discount[:k], low, high)
    metrics["MRR"] = _mean_gain(1 / np.arange(1, high.max(initial=1) + 1), low, high)
    return metrics


def _mean_gain(gain: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Mean over the ranks low..high of gain[rank - 1], which is 0 beyond the end of `gain`."""
    total = np.concatenate([[0.0], np.cumsum(gain)])
    last = len(gain)
    mean = (total[np.minimum(high, last)] - total[np.minimum(low - 1, last)]) / (high - low + 1)
    # Without a tie the gain itself: a difference of sums would be off by a last bit.
    alone = np.where(low <= last, gain[np.minimum(low, last) - 1], 0.0)
    return np.where(low == high, alone, mean)


def rank_metrics(
    scores: Any, positive: Any = 0, ks: Sequence[int] = (1, 5, 10)
) -> dict[str, np.ndarray]:
    """Metrics of each row of scores, ties counted with their mean over all orders.

    scores:   [B, C] numbers, ranked in float32
    positive: int, or int [B]: the column of each row's positive
    ks:       the cuts of HR@k and NDCG@k
    Returns {"HR@1": float64 [B], ..., "NDCG@10": [B], "MRR": [B]}: all HR, all NDCG, MRR.
    Raises ValueError as `count_ranks` does: a score that is not finite (also -inf on padding),
    a wrong shape, nothing to rank, a positive out of range; the message names the row, from 0.
    """
    greater, equal = count_ranks(scores, positive)
    return metrics_from_ranks(greater + 1, greater + equal + 1, hit_cuts=ks, gain_cuts=ks)


def mean_metrics(ranks: Ranks) -> dict[str, float]:
    """Means over rows: {"rec/uniform99/NDCG@5": 0.0123, ...}, for logs and model selection.

    A protocol that every task has also gets the mean over tasks: "mean/uniform99/NDCG@5".
    """
    means = {}
    for (task, protocol), table in ranks.items():
        for name, values in metrics_from_ranks(table.rank_low, table.rank_high).items():
            means[f"{task}/{protocol}/{name}"] = float(values.mean())
    tasks = sorted({task for task, _ in ranks})
    for protocol in dict.fromkeys(protocol for _, protocol in ranks):
        if all((task, protocol) in ranks for task in tasks):
            for name in METRICS:
                each = [means[f"{task}/{protocol}/{name}"] for task in tasks]
                means[f"mean/{protocol}/{name}"] = float(np.mean(each))
    return means
