"""Audit of a split: its row numbers, the order of its parts, and what one task tells the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.data.audit_faults import Fault, Figure, Log, make_fault, percent
from common.data.cold import mark_warm_items
from common.data.events import PARTS, TASKS, RecEvents, SearchEvents
from common.data.negatives import row_items
from common.data.splits import check_joint_invariant

Rows = Mapping[tuple[str, str], np.ndarray]


def check_rows(log: Log) -> tuple[list[Fault], dict[tuple[str, str], np.ndarray]]:
    """F08: rows out of range, without a target, twice in a split, and empty parts.

    Returns the faults and the rows that exist and have a target, for the checks that follow.
    """
    faults: list[Fault] = []
    sound: dict[tuple[str, str], np.ndarray] = {}
    for task in TASKS:
        events = log.dataset.events(task)
        positive, total = events.positive, len(events.user)
        for part in PARTS:
            rows, where = log.dataset.rows[task, part], f"{task}_{part}"
            inside = (rows >= 0) & (rows < total)
            usable = np.zeros(len(rows), bool)
            usable[inside] = positive[rows[inside]]
            for bad, what in (
                (rows[~inside], f"row number outside the table of {total:,} rows"),
                (rows[inside & ~usable], "row is no positive, so it has no target"),
            ):
                named = (log.describe(task, int(row)) for row in bad)
                faults += make_fault("F08", where, what, len(bad), named)
            faults += make_fault("F08", where, "rows are not ascending", _count_drops(rows), [])
            sound[task, part] = rows[usable]

        everything = np.concatenate([log.dataset.rows[task, part] for part in PARTS])
        known, times = np.unique(everything, return_counts=True)
        repeated = known[times > 1]
        named = (
            f"{log.describe(task, int(row))} in "
            + " and ".join(p for p in PARTS if (log.dataset.rows[task, p] == row).any())
            for row in repeated
        )
        faults += make_fault("F08", task, "row stands in the split twice", len(repeated), named)
    for part in PARTS:  # one task may have an empty part, e.g. where nobody searches
        empty = not any(len(log.dataset.rows[task, part]) for task in TASKS)
        faults += make_fault("F08", part, "part is empty", int(empty), [])
    return faults, sound


def check_cuts(log: Log, rows: Rows) -> tuple[list[Fault], list[Figure]]:
    """F12 and L4: over both tasks, a user's train comes before valid and valid before test."""
    data = log.dataset
    violations = check_joint_invariant(data.rec, data.search, rows, data.history_order)
    named = (
        f"{log.describe(v.earlier[0], v.earlier[2])} of {v.earlier[1]} is not before "
        f"{log.describe(v.later[0], v.later[2])} of {v.later[1]}"
        for v in violations
    )
    what = "parts of a user overlap in time, over both tasks"
    faults = make_fault("F12", "split", what, len(violations), named)

    late = []
    for task, other in (TASKS, TASKS[::-1]):
        cut = np.full(data.n_users + 1, np.iinfo(np.int64).max)
        tested = rows[other, "test"]
        np.minimum.at(cut, data.events(other).user[tested], log.keys[other][tested])
        train = rows[task, "train"]
        late.append(log.keys[task][train] >= cut[data.events(task).user[train]])
    told = f"train rows not before the other task's test cut {percent(np.concatenate(late))}"
    return faults, [("L4", told)]


def check_copies(log: Log, rows: Rows) -> tuple[list[Fault], list[Figure]]:
    """L3: a target of one task that the other task trains on, at the same time.

    The same pair of user and item at another time may be a true repeat; it is counted only.
    """
    data = log.dataset
    width = np.int64(data.n_items + 1)
    faults: list[Fault] = []
    figures: list[Figure] = []
    for task, other in (TASKS, TASKS[::-1]):
        train = rows[other, "train"]
        entry, items = row_items(data.events(other), train)
        copies = log.keys[other][train][entry] * width + items
        pairs = data.events(other).user[train][entry] * width + items
        shared = []
        for part in PARTS[1:]:
            target_rows = rows[task, part]
            target = data.events(task).target[target_rows]
            code = log.keys[task][target_rows] * width + target
            copied = np.isin(code, copies)
            named = (
                f"{log.describe(task, int(target_rows[i]))} is "
                f"{log.describe(other, int(train[entry[np.flatnonzero(copies == code[i])[0]]]))}"
                for i in np.flatnonzero(copied)
            )
            what = f"target is a training click of {other} at the same time"
            faults += make_fault("L3", f"{task}_{part}", what, int(copied.sum()), named)
            pair = data.events(task).user[target_rows] * width + target
            shared.append(np.isin(pair, pairs) & ~copied)
        known = percent(np.concatenate(shared))
        told = f"targets whose user took the item in {other} train at another time {known}"
        figures.append((f"L3 {task}", told))
    return faults, figures


def describe_split(log: Log, rows: Rows) -> list[Figure]:
    """Sizes, overlap of the services, ties, and what train has never seen."""
    data = log.dataset
    figures: list[Figure] = []
    for task in TASKS:
        sizes = ", ".join(f"{part} {len(rows[task, part]):,}" for part in PARTS)
        events = data.events(task)
        counts = f"{len(events.user):,} rows, {int(events.positive.sum()):,} positives"
        figures.append((task, f"{counts}; {sizes}; tied with another {_count_ties(events)}"))

    users, items = [], []
    for task in TASKS:
        events = data.events(task)
        positive = _positive_rows(events)
        users.append(np.unique(events.user[positive]))
        items.append(np.unique(row_items(events, positive)[1]))
    for name, (in_rec, in_search) in (("users", users), ("items", items)):
        both = int(np.isin(in_rec, in_search).sum())
        text = f"{both:,} in both, {len(in_rec):,} in rec, {len(in_search):,} in search"
        figures.append((f"{name} with a positive", text))

    warm_item = mark_warm_items(data, rows)
    seen_user = np.zeros(data.n_users + 1, bool)
    for task in TASKS:
        seen_user[data.events(task).user[rows[task, "train"]]] = True
    for task in TASKS:
        events = data.events(task)
        for part in PARTS[1:]:
            part_rows = rows[task, part]
            cold_item = ~warm_item[events.target[part_rows]]
            cold_user = ~seen_user[events.user[part_rows]]
            told = f"cold item {percent(cold_item)}, cold user {percent(cold_user)}"
            figures.append((f"{task}_{part} rows", told))
    return figures


def _count_drops(rows: np.ndarray) -> int:
    return int((np.diff(rows) < 0).sum())


def _positive_rows(events: RecEvents | SearchEvents) -> np.ndarray:
    return np.flatnonzero(events.positive)


def _count_ties(events: RecEvents | SearchEvents) -> str:
    """Positives that share user and time with another positive of their table."""
    rows = _positive_rows(events)
    same = (np.diff(events.user[rows]) == 0) & (np.diff(events.ts[rows]) == 0)
    tied = np.append(same, False) | np.append(False, same) if len(rows) else same
    return percent(tied)
