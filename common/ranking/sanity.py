"""Sanity baselines: scores that need no training and say what a result is worth.

`random` must show chance and `popularity` is the floor of every model; `last_item` is the floor
of sequence models; `in_history` must show chance too, or the data leaks or repeats. All are
exact: scores are integers, so rounding makes no ties, and the full ranking is counted without a
[rows, items] matrix wherever a sort can do it.

Shapes: [n] ranked rows  [m] (row, item) pairs  [I] items + 1
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from common.data.dataset import Dataset
from common.data.hashing import RANDOM_SCORE, draw_words, mix
from common.data.timeline import Timeline, expand_ranges
from common.ranking.intervals import RESAMPLES, bca_intervals
from common.ranking.ranks import Ranks, RankTable, rank_table
from common.ranking.rows import RankedRows
from common.ranking.seen import Seen, find_repeats, find_seen

BASELINES = ("random", "popularity", "last_item", "in_history")
CHANCE = 0.5  # the place of a target among candidates that nothing tells apart
Bounds = Mapping[str, float]  # {"value", "low", "high"}


class Baseline(NamedTuple):
    """A scorer of the ranked rows, by pairs for lists and in bulk for the catalogue."""

    # score(owner int64 [m], item [m]) -> integers [m]; owner is the index of the ranked row
    score: Callable[[np.ndarray, np.ndarray], np.ndarray]
    # count_all(own [n]) -> how many items 1..N score above, and how many equal, the row's own score
    count_all: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class PairCounts:
    """How often each (group, item) pair occurs, as sorted keys: a sparse [groups, I] table."""

    def __init__(self, group: np.ndarray, item: np.ndarray, width: int) -> None:
        keys = group.astype(np.int64) * width + item
        self.keys, self.counts = np.unique(keys, return_counts=True)
        self.width = width

    def look_up(self, group: np.ndarray, item: np.ndarray) -> np.ndarray:
        """int64 [m]: the count of each pair, 0 where it never occurs."""
        if not len(self.keys):
            return np.zeros(len(group), np.int64)
        wanted = group.astype(np.int64) * self.width + item
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.counts[place], 0)

    def expand(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pairs of each group of `groups` [n]: owner (0..n-1), item, count."""
        start = groups.astype(np.int64) * self.width
        begin, end = (
            np.searchsorted(self.keys, start),
            np.searchsorted(self.keys, start + self.width),
        )
        owner = np.repeat(np.arange(len(groups)), end - begin)
        place = expand_ranges(begin, end - begin)
        return owner, self.keys[place] % self.width, self.counts[place]


def rank_baselines(
    dataset: Dataset,
    task: str,
    ranked: RankedRows,
    *,
    full: bool = True,
    filter_seen: str = "history",
    seed: int = 0,
) -> dict[str, dict[tuple[str, str], RankTable]]:
    """Ranks of all sanity baselines on the rows and lists of an evaluation of one task.

    ranked: rows and stored lists, as from `choose_rows`
    full:   rank the whole catalogue too, without the items of `filter_seen`
    seed:   of the `random` scores
    Returns {"popularity": {("rec", "uniform99"): RankTable, ...}, ...}, exact, in numpy.
    """
    history = find_seen(dataset, task, ranked.rows, "history")
    repeats = find_repeats(dataset, task, ranked.rows).known
    target = ranked.targets.astype(np.int64)
    popularity = count_train(dataset, task)
    baselines = {
        "random": random_baseline(ranked.rows, dataset.n_items, seed),
        "popularity": popularity_baseline(popularity),
        "last_item": last_item_baseline(dataset, task, ranked.rows, popularity),
        "in_history": history_baseline(history, repeats, target, dataset.n_items),
    }
    seen = find_seen(dataset, task, ranked.rows, filter_seen) if full else None
    results = {}
    for name, baseline in baselines.items():
        tables = {}
        if seen is not None:
            tables[task, "full"] = _rank_all(baseline, target, seen, ranked)
        for protocol, stored in ranked.lists.items():
            owner = np.repeat(np.arange(len(target)), stored.items.shape[1])
            scores = baseline.score(owner, stored.items.ravel()).reshape(stored.items.shape)
            greater = (scores > scores[:, :1]).sum(axis=1)
            equal = (scores == scores[:, :1]).sum(axis=1) - 1
            tables[task, protocol] = rank_table(ranked.rows, ranked.users, greater, equal)
        results[name] = tables
    return results


def _rank_all(baseline: Baseline, target: np.ndarray, seen: Seen, ranked: RankedRows) -> RankTable:
    """The full ranking: counts over all items, less the positive and the filtered ones."""
    n = len(target)
    own = baseline.score(np.arange(n), target)
    greater, equal = baseline.count_all(own)
    owner = seen.owner
    filtered = baseline.score(owner, seen.items)
    greater = greater - np.bincount(owner[filtered > own[owner]], minlength=n)
    equal = equal - 1 - np.bincount(owner[filtered == own[owner]], minlength=n)
    return rank_table(ranked.rows, ranked.users, greater, equal)


def count_train(dataset: Dataset, task: str) -> np.ndarray:
    """int64 [I]: how often each item is a training target of the task."""
    target = dataset.events(task).target[dataset.rows[task, "train"]]
    return np.bincount(target, minlength=dataset.n_items + 1)


def popularity_baseline(counts: np.ndarray) -> Baseline:
    """Scores an item by its count; counts: int64 [I], entry 0 unused."""
    ordered = np.sort(counts[1:])

    def count(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left, right = (np.searchsorted(ordered, own, side) for side in ("left", "right"))
        return len(ordered) - right, right - left

    return Baseline(lambda owner, item: counts[item], count)


def random_baseline(rows: np.ndarray, n_items: int, seed: int) -> Baseline:
    """Scores by h(seed, 20, row, item), as 64-bit words; rows: int64 [n], table row numbers."""
    # h nests row by row: the part before the item is shared by the whole catalogue.
    prefix = mix(mix(mix(seed) ^ np.uint64(RANDOM_SCORE)) ^ rows.astype(np.uint64))
    items = np.arange(1, n_items + 1, dtype=np.uint64)

    def count(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        greater, equal = np.zeros(len(own), np.int64), np.zeros(len(own), np.int64)

        def fill(row: int) -> None:
            for begin in range(0, n_items, 2**16):  # 512 KiB stay in cache: 10 ns a score, not 14
                words = mix(prefix[row] ^ items[begin : begin + 2**16])
                greater[row] += np.count_nonzero(words > own[row])
                equal[row] += np.count_nonzero(words == own[row])

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(fill, range(len(own)), chunksize=64))
        return greater, equal

    return Baseline(lambda owner, item: draw_words(seed, RANDOM_SCORE, rows[owner], item), count)


def last_item_baseline(
    dataset: Dataset, task: str, rows: np.ndarray, popularity: np.ndarray
) -> Baseline:
    """Scores by training transitions from the last rec item, then by training count.

    The score is transitions + count / (1 + max count), here times (1 + max count). A row without
    an earlier rec event has no transitions.
    """
    width = dataset.n_items + 1
    train = dataset.rows[task, "train"]
    before = find_last_items(dataset.timeline, task, train)
    known = before > 0
    transitions = PairCounts(before[known], dataset.events(task).target[train][known], width)
    last = find_last_items(dataset.timeline, task, rows)
    scale = 1 + popularity.max(initial=0)

    def score(owner: np.ndarray, item: np.ndarray) -> np.ndarray:
        return transitions.look_up(last[owner], item) * scale + popularity[item]

    def count(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(own)
        # As if there were no transitions, then the few items that have one are counted anew.
        greater, equal = popularity_baseline(popularity).count_all(own)
        owner, item, times = transitions.expand(last)
        plain, full, limit = popularity[item], popularity[item] + times * scale, own[owner]
        for values, sign in ((plain, -1), (full, 1)):
            greater = greater + sign * np.bincount(owner[values > limit], minlength=n)
            equal = equal + sign * np.bincount(owner[values == limit], minlength=n)
        return greater, equal

    return Baseline(score, count)


def history_baseline(
    history: Seen, repeats: np.ndarray, target: np.ndarray, n_items: int
) -> Baseline:
    """Scores 1 for items of the row's history, 0 for others.

    history: distinct items without the target; repeats: bool [n], the target occurs as well.
    """
    n = len(target)
    members = PairCounts(
        np.concatenate([history.owner, np.flatnonzero(repeats)]),
        np.concatenate([history.items, target[repeats]]),
        n_items + 1,
    )
    size = np.diff(history.offsets) + repeats

    def count(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.where(own > 0, 0, size), np.where(own > 0, size, n_items - size)

    assert len(size) == n
    return Baseline(lambda owner, item: members.look_up(owner, item), count)


def find_last_items(timeline: Timeline, task: str, rows: np.ndarray) -> np.ndarray:
    """int32 [n]: the last rec item of each row's strict history, 0 where there is none."""
    rec_end, _, rec_start, _ = timeline.ends(task, rows)
    if not len(timeline.rec_item):
        return np.zeros(len(rows), np.int32)
    return np.where(rec_end > rec_start, timeline.rec_item[rec_end - 1], 0)


def place_targets(
    ranks: Ranks, sizes: Mapping[str, float], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Bounds]:
    """Where a scorer puts the targets in their lists: 0 = first, 1 = last, 0.5 = chance.

    sizes: {"rec/full": mean number of ranked candidates, ...}, as in an evaluation's details
    The mean over rows of (expected rank - 1), by the mean of (candidates - 1). A scorer that
    knows nothing expects half the others before the target, in a list of any length and with any
    ties, so chance is exact, which it is not for HR@10 in a list of ten.
    Returns {"rec/full": {value, low, high}}, 95 % BCa intervals over users; a protocol without a
    second candidate is left out.
    Source: ours.
    """
    placed: dict[str, Bounds] = {}
    groups: dict[tuple[str, bytes], list[tuple[str, RankTable]]] = {}  # these share a bootstrap
    for (task, protocol), table in ranks.items():
        where = f"{task}/{protocol}"
        if sizes[where] > 1:
            groups.setdefault((task, table.row.tobytes()), []).append((where, table))
    for members in groups.values():
        before = [
            ((table.rank_low.astype(np.float64) + table.rank_high) / 2 - 1) / (sizes[where] - 1)
            for where, table in members
        ]
        users = members[0][1].user
        bounds = bca_intervals(users, np.stack(before, 1), resamples=resamples, seed=seed)
        for (where, _), *triple in zip(members, *bounds, strict=True):
            value, low, high = (min(float(part), 1.0) for part in triple)
            placed[where] = {"value": value, "low": low, "high": high}
    return placed


def find_leak(place: Bounds) -> bool:
    """Whether `in_history` beats chance: it places the targets before 0.49, with its upper bound.

    place: of `place_targets`. A share r of targets in their own history lowers it by r / 2, in a
    list of any length, so the limit is 2 % of the rows.
    """
    return place["high"] < CHANCE - 0.01


def merge_ranks(
    per_task: Mapping[str, Mapping[str, Ranks]],
) -> dict[str, dict[tuple[str, str], RankTable]]:
    """Joins {task: {baseline: ranks}} of several tasks into {baseline: ranks}."""
    merged: dict[str, dict[tuple[str, str], RankTable]] = {}
    for baselines in per_task.values():
        for name, ranks in baselines.items():
            merged.setdefault(name, {}).update(ranks)
    return merged
