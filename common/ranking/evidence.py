"""Does a model trust the right searches? Its weights against the planted truth of a dataset.

Each target has a list: the searches in the model's window, with one weight each. Three figures,
all areas under the ROC curve, ties counted as one half:

auc_flag      useful against useless searches, within each list, averaged over lists
auc_pair      searches that were useful and are about the target's intent, against searches that
              were useless and are not about it; the rest is left out
auc_pair_age  the same pairs, compared across lists between searches of equal age rank in lists of
              equal length, so that recency alone gets exactly 0.5

Beside the model stand four scorers: random, recency, the share of the user's earlier clicks that
have the query's topic ("profile"), and knowing the target's intent ("oracle").
Source: ours. Apart from the readers that make them, only this module knows truth tables.

Shapes: [n] (target, search) pairs  [B] resamples
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq

from common.data.dataset import Dataset
from common.data.hashing import draw_uniform, draw_words
from common.data.timeline import Timeline, expand_ranges
from common.errors import InputError

FIGURES = ("auc_flag", "auc_pair", "auc_pair_age")
RESAMPLES = 1_000
_BOOTSTRAP, _RANDOM = 34, 35  # streams of the counter-based generator
_BLOCK = 64  # resamples at a time


class EvidenceTable(NamedTuple):
    """How much a model relies on each search of its window, for each target."""

    rec_row: np.ndarray  # int64 [n], the target, a row of rec.parquet
    search_row: np.ndarray  # int64 [n]
    weight: np.ndarray  # float [n]; a null event ("nothing useful") is left out


class _Truth(NamedTuple):
    """Truth tables as arrays over all rows; topics are numbered from 1."""

    intent: np.ndarray  # int32, per row of rec.parquet; 0 = no click
    search_topic: np.ndarray  # int32, per row of search.parquet
    useful: np.ndarray  # bool, per row of search.parquet
    item_topic: np.ndarray  # int32, per item; entry 0 = pad


class _Lists(NamedTuple):
    """What does not depend on the weights."""

    unit: np.ndarray  # int64 [n], the user of each pair, numbered from 0
    list_id: np.ndarray  # int64 [n], the target of each pair, numbered from 0
    age: np.ndarray  # int64 [n], 0 = the newest search of the list
    stratum: np.ndarray  # int64 [n], a number per (list length, age rank)
    flag: np.ndarray  # int8 [n]: 1 positive, 0 negative, for auc_flag
    pair: np.ndarray  # int8 [n]: 1 positive, 0 negative, -1 left out, for auc_pair


def select_window(
    timeline: Timeline, rows: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The last `length` searches before each target: rec_row and search_row, int64 [n] each.

    rows: int64, target rows of rec.parquet.
    """
    _, end, _, start = timeline.ends("rec", rows)
    sizes = np.minimum(end - start, length)
    return np.repeat(np.asarray(rows, np.int64), sizes), expand_ranges(end - sizes, sizes)


def evidence_report(
    dataset: Dataset,
    weights: EvidenceTable,
    seed: int = 0,
    controls: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """The three figures of a model's weights and of the reference scorers on the same lists.

    controls: {name: float [n]}, other weights of the model for the same pairs
    Returns {"model": {figure: {"value", "low", "high"}}, the controls, "random": ...,
    "recency": ..., "profile": ..., "oracle": ..., "lists": {"flag": n, "pair": n}}. `lists`
    counts the targets with both classes. Bounds are 95 % percentile bootstrap bounds over users;
    a figure without any pair to compare has None three times.
    Raises InputError for a dataset without truth, and for pairs that are not a click and a search.
    """
    truth = _read_truth(dataset)
    rec_row, search_row = (np.asarray(column, np.int64) for column in weights[:2])
    models = {"model": weights.weight, **(controls or {})}
    models = {name: np.asarray(column, np.float64) for name, column in models.items()}
    for name, column in models.items():
        if not len(rec_row) == len(search_row) == len(column):
            raise InputError("evidence: columns differ in length; give one weight per pair of rows")
        if not np.isfinite(column).all():
            raise InputError(
                f"evidence, column {'weight' if name == 'model' else name}: value is not finite; "
                "check the model"
            )
    _check_rows(rec_row, search_row, truth)
    lists = _sort_into_lists(dataset, truth, rec_row, search_row)
    scores = {
        **models,
        **_score_references(dataset.timeline, truth, rec_row, search_row, lists, seed),
    }
    report: dict[str, Any] = {name: _evaluate(lists, score, seed) for name, score in scores.items()}
    report["lists"] = {
        name: int(np.count_nonzero(_list_auc(lists, lists.age, classes)[1]))
        for name, classes in (("flag", lists.flag), ("pair", lists.pair))
    }
    return report


def score_references(
    dataset: Dataset,
    rec_row: np.ndarray,
    search_row: np.ndarray,
    seed: int = 0,
) -> dict[str, EvidenceTable]:
    """The reference scorers as tables over given pairs, int64 [n] each (`select_window`)."""
    truth = _read_truth(dataset)
    _check_rows(rec_row, search_row, truth)
    lists = _sort_into_lists(dataset, truth, rec_row, search_row)
    scores = _score_references(dataset.timeline, truth, rec_row, search_row, lists, seed)
    return {name: EvidenceTable(rec_row, search_row, score) for name, score in scores.items()}


def _read_truth(dataset: Dataset) -> _Truth:
    folder = dataset.path / "truth"
    tables = {}
    for name in ("rec", "search", "items"):
        file = folder / f"{name}.parquet"
        if not file.is_file():
            raise InputError(
                f"{file}: not found; evidence figures need planted truth, see "
                "`launch.prepare --truth=DIR`"
            )
        table = pq.read_table(file)
        tables[name] = {key: table[key].to_numpy() for key in table.column_names}
    intent = np.zeros(len(dataset.rec.user), np.int32)
    intent[tables["rec"]["row"]] = tables["rec"]["intent"]
    topic = np.zeros(len(dataset.search.user), np.int32)
    useful = np.zeros(len(dataset.search.user), bool)
    topic[tables["search"]["row"]] = tables["search"]["topic"]
    useful[tables["search"]["row"]] = tables["search"]["useful"] == 1
    item_topic = np.zeros(dataset.n_items + 1, np.int32)
    item_topic[tables["items"]["item"]] = tables["items"]["topic"]
    return _Truth(intent, topic, useful, item_topic)


def _check_rows(rec_row: np.ndarray, search_row: np.ndarray, truth: _Truth) -> None:
    for name, row, n in (
        ("rec_row", rec_row, len(truth.intent)),
        ("search_row", search_row, len(truth.useful)),
    ):
        bad = np.flatnonzero((row < 0) | (row >= n))
        if bad.size:
            raise InputError(
                f"evidence, column {name}, entry {bad[0] + 1}: {row[bad[0]]} is not in the table; "
                "use row numbers of this dataset"
            )
    bad = np.flatnonzero(truth.intent[rec_row] == 0)
    if bad.size:
        raise InputError(
            f"evidence, column rec_row, entry {bad[0] + 1}: row {rec_row[bad[0]] + 1} is no click; "
            "use targets of the split"
        )


def _sort_into_lists(
    dataset: Dataset, truth: _Truth, rec_row: np.ndarray, search_row: np.ndarray
) -> _Lists:
    _, unit = np.unique(dataset.rec.user[rec_row], return_inverse=True)
    _, list_id, length = np.unique(rec_row, return_inverse=True, return_counts=True)
    # Searches of a user are in order of time, so the row number tells the age rank.
    order = np.lexsort((-search_row, list_id))
    age = np.empty(len(order), np.int64)
    starts = np.cumsum(length) - length
    age[order] = np.arange(len(order)) - starts[list_id[order]]
    useful = truth.useful[search_row]
    fits = truth.search_topic[search_row] == truth.intent[rec_row]
    return _Lists(
        unit=unit,
        list_id=list_id,
        age=age,
        stratum=length[list_id] * (int(length.max(initial=0)) + 1) + age,
        flag=useful.astype(np.int8),
        pair=np.where(useful & fits, 1, np.where(useful | fits, -1, 0)).astype(np.int8),
    )


def _score_references(
    timeline: Timeline,
    truth: _Truth,
    rec_row: np.ndarray,
    search_row: np.ndarray,
    lists: _Lists,
    seed: int,
) -> dict[str, np.ndarray]:
    topic = truth.search_topic[search_row]
    targets = np.unique(rec_row)
    end, _, start, _ = timeline.ends("rec", targets)
    width = int(max(truth.item_topic.max(initial=0), truth.search_topic.max(initial=0))) + 1
    owner = np.repeat(np.arange(len(targets)), end - start)
    clicked = truth.item_topic[timeline.rec_item[expand_ranges(start, end - start)]]
    # Only the (target, topic) cells that are asked for: a full table has targets x topics cells.
    cells, cell = np.unique(lists.list_id * width + topic, return_inverse=True)
    codes = np.sort(owner * width + clicked)
    counts = np.searchsorted(codes, cells, side="right") - np.searchsorted(codes, cells)
    return {
        "random": draw_uniform(seed, _RANDOM, rec_row, search_row),
        "recency": 1.0 / (1.0 + lists.age),
        "profile": counts[cell] / np.maximum(end - start, 1)[lists.list_id],
        "oracle": (topic == truth.intent[rec_row]).astype(np.float64),
    }


def _evaluate(lists: _Lists, score: np.ndarray, seed: int) -> dict[str, dict[str, float | None]]:
    """Value and bounds of the three figures."""
    n_users = int(lists.unit.max(initial=-1)) + 1
    user_of_list = np.zeros(int(lists.list_id.max(initial=-1)) + 1, np.int64)
    user_of_list[lists.list_id] = lists.unit
    means = []
    for classes in (lists.flag, lists.pair):
        auc, has_both = _list_auc(lists, score, classes)
        totals = [np.bincount(user_of_list, x, n_users) for x in (auc * has_both, has_both)]
        means.append(np.stack(totals, axis=1))
    pooled = _Pooled(lists.pair, score, lists.stratum)

    def compute(counts: np.ndarray) -> np.ndarray:
        """float64 [B, 3] for how often each user counts, float64 [B, U]."""
        parts = [counts @ table for table in means]
        parts.append(np.stack(pooled.compare(counts[:, lists.unit]), axis=1))
        wins, pairs = (np.stack([part[:, i] for part in parts], axis=1) for i in (0, 1))
        return np.divide(wins, pairs, out=np.full(wins.shape, np.nan), where=pairs > 0)

    value = compute(np.ones((1, n_users)))[0]
    samples = []
    for first in range(0, RESAMPLES if n_users else 0, _BLOCK):
        block = np.arange(first, min(first + _BLOCK, RESAMPLES))
        words = draw_words(seed, _BOOTSTRAP, block[:, None], np.arange(n_users))
        drawn = (words % np.uint64(n_users)).astype(np.int64)
        drawn += np.arange(len(block))[:, None] * n_users
        counts = np.bincount(drawn.ravel(), minlength=len(block) * n_users)
        samples.append(compute(counts.reshape(len(block), n_users).astype(np.float64)))
    result: dict[str, dict[str, float | None]] = {}
    for i, name in enumerate(FIGURES):
        if np.isnan(value[i]):
            result[name] = {"value": None, "low": None, "high": None}
            continue
        low, high = np.nanquantile(np.concatenate(samples)[:, i], [0.025, 0.975])
        result[name] = {
            "value": float(value[i]),
            "low": float(min(low, value[i])),
            "high": float(max(high, value[i])),
        }
    return result


def _list_auc(
    lists: _Lists, score: np.ndarray, classes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Area per list (0 where it has one class only) and which lists have both classes."""
    n_lists = int(lists.list_id.max(initial=-1)) + 1
    auc, has_both = np.zeros(n_lists), np.zeros(n_lists, bool)
    pooled = _Pooled(classes, score, lists.list_id)
    wins, pairs = pooled.compare_strata(np.ones((1, len(score))))
    auc[pooled.strata] = np.divide(
        wins[0], pairs[0], out=np.zeros(len(wins[0])), where=pairs[0] > 0
    )
    has_both[pooled.strata] = pairs[0] > 0
    return auc, has_both


class _Pooled:
    """Positives against negatives of the same stratum, for many weightings of the entries."""

    def __init__(self, classes: np.ndarray, score: np.ndarray, stratum: np.ndarray):
        order = np.lexsort((score, stratum))
        self._order = order = order[classes[order] >= 0]
        self._positive = classes[order] == 1
        sorted_stratum, sorted_score = stratum[order], score[order]
        new_stratum = np.diff(sorted_stratum, prepend=-1) != 0
        new_tie = new_stratum.copy()
        new_tie[1:] |= sorted_score[1:] != sorted_score[:-1]
        self._ties = np.flatnonzero(new_tie)  # where runs of equal score begin
        self._first = np.flatnonzero(new_stratum[self._ties])  # first run of each stratum
        self._runs = np.diff(np.append(self._first, len(self._ties)))  # runs per stratum
        self.strata = sorted_stratum[new_stratum]

    def compare_strata(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wins and pairs per stratum, float64 [B, strata] each; weight: [B, n]."""
        weight = weight[:, self._order]
        if not weight.shape[1]:
            return np.zeros((len(weight), 0)), np.zeros((len(weight), 0))
        positive = np.add.reduceat(np.where(self._positive, weight, 0.0), self._ties, axis=1)
        negative = np.add.reduceat(np.where(self._positive, 0.0, weight), self._ties, axis=1)
        below = np.cumsum(negative, axis=1) - negative
        below -= np.repeat(below[:, self._first], self._runs, axis=1)
        wins = np.add.reduceat(positive * (below + 0.5 * negative), self._first, axis=1)
        totals = [np.add.reduceat(part, self._first, axis=1) for part in (positive, negative)]
        return wins, totals[0] * totals[1]

    def compare(self, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Wins and pairs over all strata, float64 [B] each."""
        wins, pairs = self.compare_strata(weight)
        return wins.sum(axis=1), pairs.sum(axis=1)
