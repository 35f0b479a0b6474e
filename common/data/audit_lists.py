"""Audit of candidate lists: their form, and what the negatives are.

Shapes: [n] rows of a split part  [k] negatives  [N] items, ids 1..N
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow.parquet as pq

from common.data.audit_faults import Fault, Figure, Log, make_fault, percent
from common.data.candidates import count_items, ever_items, same_query_items
from common.data.dataset import CandidateList
from common.data.negatives import KeySet

Rows = Mapping[tuple[str, str], np.ndarray]
Lists = Mapping[str, CandidateList]


def check_lists(
    log: Log, lists: Mapping[tuple[str, str], Lists], rows: Rows, facts: ItemFacts
) -> tuple[list[Fault], list[Figure], dict[tuple[str, str], Lists]]:
    """F11, and the figures L5, L6, L7 and L15 of every list that is in form.

    lists: (task, part) -> name -> list
    rows:  (task, part) -> row numbers of positives
    Returns faults, figures and the lists that are in form.
    """
    sound: dict[tuple[str, str], Lists] = {}
    faults: list[Fault] = []
    figures: list[Figure] = []
    widths: dict[str, dict[str, int]] = {}
    for (task, part), named in lists.items():
        in_form: dict[str, CandidateList] = {}
        sound[task, part] = in_form
        targets = rows[task, part]
        for name, stored in named.items():
            where = f"{name} {task}_{part}"
            if len(targets) != len(log.dataset.rows[task, part]):
                figures.append((where, "not looked at, because of F08"))
                continue
            found = _check_form(log, task, targets, stored.items, where)
            faults += found
            if not found:
                in_form[name] = stored
                figures += facts.describe(task, targets, stored.items, name, where)
            widths.setdefault(name, {})[where] = stored.items.shape[-1]
    for name, width in widths.items():
        lengths = (f"{where}: {length} items" for where, length in width.items())
        mixed = len(set(width.values())) > 1
        faults += make_fault("F11", name, "lists differ in length", int(mixed), lengths)
    return faults, figures, sound


def _check_form(
    log: Log, task: str, targets: np.ndarray, lists: np.ndarray, where: str
) -> list[Fault]:
    """F11: a list per row, of known items, without repeats, with its positive in column 0."""
    if lists.ndim != 2 or len(lists) != len(targets):
        shape = " x ".join(map(str, lists.shape))
        what = f"array of {shape} for {len(targets):,} rows of the split"
        return make_fault("F11", where, what, 1, [])
    positive = log.dataset.events(task).target[targets][:, None]
    ordered = np.sort(lists, axis=1)
    times = (lists == positive).sum(axis=1)
    known = (lists >= 1) & (lists <= log.dataset.n_items)
    faults: list[Fault] = []
    for bad, what in (
        (~known.all(axis=1), "list has an unknown item"),
        ((ordered[:, 1:] == ordered[:, :-1]).any(axis=1), "list repeats an item"),
        (times == 0, "list is without its positive"),
        (times > 1, "list has its positive twice"),
        ((times == 1) & (lists[:, :1] != positive)[:, 0], "positive is not in column 0"),
    ):
        named = (
            f"list {place + 1}, {log.describe(task, int(targets[place]))}"
            for place in np.flatnonzero(bad)
        )
        faults += make_fault("F11", where, what, int(bad.sum()), named)
    return faults


class ItemFacts:
    """What is known of items, to say what kind of negatives a list has."""

    def __init__(self, log: Log, rows: Rows) -> None:
        data = log.dataset
        self._log, self._width = log, np.int64(data.n_items + 1)
        self.ever = ever_items(data.rec, data.search, data.n_users)
        owner = np.repeat(np.arange(len(self.ever.off) - 1), np.diff(self.ever.off))
        self._taken = KeySet(owner * self._width + self.ever.item)
        self._same_query = same_query_items(data.search, data.n_items)
        self.first_ms = _find_first_times(log)
        self.counts = {
            task: count_items(data.events(task).target[rows[task, "train"]], data.n_items)
            for task in ("rec", "search")
        }
        self.popularity = {task: rank_items(counts) for task, counts in self.counts.items()}

    def takes(self, user: np.ndarray, items: np.ndarray) -> np.ndarray:
        """bool [n, k]: whether users, int64 [n], take items [n, k] at some time."""
        return self._taken.holds(user[:, None] * self._width + items)

    def describe(
        self, task: str, targets: np.ndarray, lists: np.ndarray, name: str, where: str
    ) -> list[Figure]:
        """What kind of negatives one list has, in one line.

        Popularity is the mean percentile among items by train counts of the task. A candidate is
        younger than the target if it was first heard of after the target's time.
        """
        events = self._log.dataset.events(task)
        negatives, user = lists[:, 1:], events.user[targets].astype(np.int64)
        taken = self.takes(user, negatives)
        popularity = self.popularity[task]
        newer = self.first_ms[lists] > events.ts[targets][:, None]
        catalogue = np.arange(1, self._width)
        means = [_mean(popularity[items]) for items in (negatives, lists[:, 0], catalogue)]
        told = [
            f"L5 negatives the user takes at some time {percent(taken)}",
            "L6 popularity {:.3f} (positives {:.3f}, catalogue {:.3f})".format(*means),
            f"L15 candidates younger than the target {percent(newer)}",
        ]
        if task == "search" and name.startswith("bm25"):
            query = self._log.dataset.search.query[targets]
            share = 100 * self._same_query.share(lists, query)
            told.append(f"L7 clicked for this very query {share:.1f} %")
        return [(where, "; ".join(told))]


def rank_items(counts: np.ndarray) -> np.ndarray:
    """float64 [N + 1]: share of the catalogue that is less popular, equals counted half."""
    ordered = np.sort(counts[1:])
    below, upto = (np.searchsorted(ordered, counts, side=side) for side in ("left", "right"))
    return (below + upto) / (2 * max(len(ordered), 1))


def _find_first_times(log: Log) -> np.ndarray:
    """int64 [N + 1]: when each item is first heard of, in ms; 0 if nothing is known.

    The item's own time of creation where items.parquet has one, else its first event: taken,
    or shown by the recommender.
    """
    data = log.dataset
    never = np.iinfo(np.int64).max
    first = np.full(data.n_items + 1, never)
    np.minimum.at(first, data.rec.item, data.rec.ts)
    np.minimum.at(first, data.search.click_item, data.search.click_ts)
    first[first == never] = 0
    file = data.path / "items.parquet"
    if file.is_file() and "created_ms" in pq.read_schema(file).names:
        table = pq.read_table(file, columns=["item", "created_ms"]).drop_null()
        item, created = (table[name].to_numpy().astype(np.int64) for name in table.column_names)
        first[item] = created  # another writer may have stored them as another kind of number
    return first


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
