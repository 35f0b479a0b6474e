"""Slices of a result: whether it holds for new items, cold items, users without searches.

A mean over rows hides what carries it. Everything here follows from the ranks (`ranks.parquet`)
and the dataset, so a finished run can be sliced again without its model.

Shapes: [n] ranked rows  [I] items + 1  [K] columns
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from common.data.cold import mark_warm_items
from common.data.dataset import Dataset
from common.data.events import TASKS
from common.data.negatives import train_items
from common.ranking.intervals import MIN_USERS, RESAMPLES, slice_intervals
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import Ranks, RankTable
from common.ranking.seen import find_repeats

SLICE_METRICS = ("HR@1", "HR@10", "NDCG@10", "MRR")
Masks = dict[str, dict[str, np.ndarray]]  # slice -> class -> bool [n]


def slice_ranks(
    dataset: Dataset,
    ranks: Ranks,
    *,
    trained: Dataset | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """What each class of rows scores: {task: {slice: {class: {"n", "users", "protocols"}}}}.

    ranks:   of this dataset and split, as evaluated or as read from `ranks.parquet`
    trained: what the model was trained on, where that is another dataset of the same vocabularies
    "n" rows of "users" users; "protocols": {protocol: {metric: {value, low, high}}} for
    `SLICE_METRICS`, absent where fewer than `MIN_USERS` users are left to conclude from. For the
    slices and classes see `mark_slices`.
    Raises ValueError where the protocols of a task rank different rows.
    Source: ours.
    """
    sliced: dict[str, Any] = {}
    for task in TASKS:
        tables = {protocol: table for (name, protocol), table in ranks.items() if name == task}
        if tables:
            rows, users = _shared_rows(task, tables)
            masks = mark_slices(dataset, task, rows, trained)
            sliced[task] = _measure(masks, users, tables, resamples, seed)
    return sliced


def _shared_rows(task: str, tables: Mapping[str, RankTable]) -> tuple[np.ndarray, np.ndarray]:
    """The rows that all protocols rank, int64 [n], and their users."""
    first, *others = tables.values()
    if any(not np.array_equal(first.row, table.row) for table in others):
        raise ValueError(f"slices: the protocols of {task} rank different rows")
    return first.row, first.user


def _measure(
    masks: Masks, users: np.ndarray, tables: Mapping[str, RankTable], resamples: int, seed: int
) -> dict[str, Any]:
    """Counts of all classes of one task, and the figures of those that are large enough."""
    classes = [(name, label, mask) for name, part in masks.items() for label, mask in part.items()]
    sliced: dict[str, Any] = {name: {} for name in masks}
    large: dict[bytes, np.ndarray] = {}  # where all targets are new and warm, that is one slice
    for name, label, mask in classes:
        known = len(np.unique(users[mask]))
        sliced[name][label] = {"n": int(mask.sum()), "users": known}
        if known >= MIN_USERS:
            large[mask.tobytes()] = mask
    if not large:
        return sliced
    values = np.concatenate([_columns(table) for table in tables.values()], axis=1)
    chosen = np.stack(list(large.values()), axis=1)
    bounds = slice_intervals(users, values, chosen, resamples=resamples, seed=seed)
    found = dict(zip(large, zip(*bounds, strict=True), strict=True))
    for name, label, mask in classes:
        if mask.tobytes() in found:
            sliced[name][label]["protocols"] = _name_bounds(found[mask.tobytes()], tables)
    return sliced


def _name_bounds(bounds: Sequence[np.ndarray], protocols: Iterable[str]) -> dict[str, Any]:
    """{protocol: {metric: {value, low, high}}} of value, low and high, each [K]."""
    triples = iter(zip(*(part.tolist() for part in bounds), strict=True))
    return {
        protocol: {
            metric: dict(zip(("value", "low", "high"), next(triples), strict=True))
            for metric in SLICE_METRICS
        }
        for protocol in protocols
    }


def _columns(table: RankTable) -> np.ndarray:
    """float64 [n, K]: `SLICE_METRICS` of each row."""
    metrics = metrics_from_ranks(table.rank_low, table.rank_high)
    return np.stack([metrics[name] for name in SLICE_METRICS], axis=1)


def mark_slices(
    dataset: Dataset,
    task: str,
    rows: np.ndarray,
    trained: Dataset | None = None,
) -> Masks:
    """Which class of each slice a row belongs to.

    rows:    int64 [n], row numbers of the task's table
    trained: whose train rows count, see `slice_ranks`; None = the dataset's
    Slices, and their classes:
    target:     new to the user; repeat, and of these bought_before (a rec event of the row's
                history has the item) and clicked_before (only a click of a search has it)
    item:       warm, or cold: in no train row of either task
    user:       with_searches in the row's history, or without_searches
    popularity: head, middle and tail, see `split_popularity`; a cold item is in none
    query:      seen, or unseen as the query of any train row; of search alone
    """
    trained = trained or dataset
    events = dataset.events(task)
    target = events.target[rows]
    repeats = find_repeats(dataset, task, rows)
    warm = mark_warm_items(trained)[target]
    _, search_end, _, search_start = dataset.timeline.ends(task, rows)
    searches = search_end > search_start
    third = split_popularity(count_in_training(trained))[target]
    masks = {
        "target": {
            "new": ~repeats.known,
            "repeat": repeats.known,
            "bought_before": repeats.bought,
            "clicked_before": repeats.clicked & ~repeats.bought,
        },
        "item": {"warm": warm, "cold": ~warm},
        "user": {"with_searches": searches, "without_searches": ~searches},
        "popularity": {
            name: (third == index) & warm for index, name in enumerate(("head", "middle", "tail"))
        },
    }
    if task == "search":
        asked = trained.search.query[trained.rows["search", "train"]]
        seen = np.isin(dataset.search.query[rows], asked)
        masks["query"] = {"seen": seen, "unseen": ~seen}
    return masks


def count_in_training(dataset: Dataset) -> np.ndarray:
    """int64 [I]: how often each item was taken in the train rows of both tasks, with all clicks."""
    _, items = train_items(dataset)
    return np.bincount(items, minlength=dataset.n_items + 1)


def split_popularity(times: np.ndarray) -> np.ndarray:
    """int64 [I]: 0, 1 or 2 for items of the head, the middle and the tail.

    times: int64 [I], how often each item stands in a train row
    Thirds of what was taken in training, not of the catalogue: the most popular items that make
    the first third of all train events are the head. An item belongs where the events of all
    items above it end, so equal counts are in the same third.
    """
    counts, place, items = np.unique(times, return_inverse=True, return_counts=True)
    events = counts * items
    above = events.sum() - np.cumsum(events)
    return (3 * above // max(int(events.sum()), 1))[place]
