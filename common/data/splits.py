"""Which rows are trained on, which are predicted: three ways to split a log by time.

All rules compare keys (`common.data.keys`); positives with equal keys never see each other. A
search is predicted at its own time, but what it teaches is known at its last click only: so a
search of train or valid that is clicked in at or after the next cut is left out, as history only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.data.click_times import order_clicks
from common.data.events import PARTS, TASKS, RecEvents, SearchEvents
from common.data.keys import (
    BEFORE,
    HISTORY_ORDERS,
    NEVER,
    KeyedRows,
    count_users,
    distinct_keys,
    key_rows,
    last_rows,
    rank_keys,
)
from common.errors import InputError

SPLITS = ("leave_one_out_joint", "leave_one_out_per_task", "global_time")

Rows = dict[tuple[str, str], np.ndarray]


class SplitResult(NamedTuple):
    """The rows of a split and how it came about."""

    rows: Rows  # (task, part) -> int64 row numbers, ascending
    info: dict[str, Any]  # json-able: name, history_order, parameters, counts, unused


def make_split(
    name: str,
    rec: RecEvents,
    search: SearchEvents,
    history_order: str,
    *,
    max_cut_share: float = 0.5,
    t1: int | None = None,
    t2: int | None = None,
) -> SplitResult:
    """Splits the positives of both tasks.

    name:          one of `SPLITS`; see the functions of the same names
    history_order: "time" or "source", see `common.data.keys`
    max_cut_share: in (0, 1], for leave_one_out_joint
    t1, t2:        cut times in ms UTC, for global_time; both or neither
    Returns rows per (task, part). A positive in no part is history only.
    Raises InputError for an unknown name or a setting that cannot be used.
    """
    if name not in SPLITS:
        raise InputError(f"split {name!r}: no such split; use one of {', '.join(SPLITS)}")
    if history_order not in HISTORY_ORDERS:
        raise InputError(
            f"history_order {history_order!r}: unknown; use one of {', '.join(HISTORY_ORDERS)}"
        )
    settings: dict[str, Any] = {}
    if name == "global_time":
        rows, settings = _split_by_time(rec, search, t1, t2)
    elif name == "leave_one_out_joint":
        if not 0 < max_cut_share <= 1:
            raise InputError(f"max_cut_share {max_cut_share}: out of range; use 0 < share <= 1")
        rows = _split_jointly(rec, search, history_order, max_cut_share)
        settings = {"max_cut_share": max_cut_share}
    else:
        rows = _split_per_task(rec, search, history_order)
    positives = int(np.count_nonzero(rec.positive) + np.count_nonzero(search.positive))
    counts = {task: {part: len(rows[task, part]) for part in PARTS} for task in TASKS}
    unused = positives - sum(sum(parts.values()) for parts in counts.values())
    info = {"name": name, "history_order": history_order, **settings}
    return SplitResult(rows, info | {"counts": counts, "positives": positives, "unused": unused})


def _split_jointly(
    rec: RecEvents, search: SearchEvents, history_order: str, max_cut_share: float
) -> Rows:
    """One pair of cuts per user for both tasks, so no task trains on what the other predicts.

    A task is eligible with three distinct keys, unless its last but one key comes so early that
    more than `max_cut_share` of the user's positives (both tasks) lie at or after it. The task
    whose last but one key is the latest stays eligible whatever the share: the rule only keeps
    another task's early cut from throwing the user's data away.

    test cut  = the smallest last key of an eligible task
    valid cut = the smallest, over eligible tasks, of the largest key before the test cut
    Test target of an eligible task: the positive with the smallest key >= test cut; valid target:
    with the smallest key in [valid cut, test cut); of tied rows the last. Train: keys < valid cut.
    Users without an eligible task are trained on whole. Source: ours.
    """
    tasks = key_rows(rec, search, history_order)
    n_users = count_users(rec, search)
    distinct = [distinct_keys(task, n_users) for task in tasks]

    every_key = np.sort(np.concatenate([task.key for task in tasks]), kind="stable")
    totals = sum(np.bincount(task.user, minlength=n_users) for task in tasks)
    ends = np.cumsum(totals)
    second = [keys.from_end(2) for keys in distinct]
    enough = [keys.per_user() >= 3 for keys in distinct]
    latest = np.maximum(*[np.where(e, s, BEFORE) for e, s in zip(enough, second, strict=True)])
    eligible = []
    for e, s in zip(enough, second, strict=True):
        after = ends - np.searchsorted(every_key, s)  # positives with key >= the second last
        eligible.append(e & ((after <= max_cut_share * totals) | (s == latest)))

    test_cut = np.minimum(
        *[np.where(e, keys.from_end(1), NEVER) for e, keys in zip(eligible, distinct, strict=True)]
    )
    before = [keys.below(test_cut) for keys in distinct]
    valid_cut = np.minimum(
        *[np.where(e & (b != BEFORE), b, NEVER) for e, b in zip(eligible, before, strict=True)]
    )
    rows: Rows = {}
    for name, task, keys, is_eligible in zip(TASKS, tasks, distinct, eligible, strict=True):
        test = np.where(is_eligible, keys.at_least(test_cut), NEVER)
        valid = keys.at_least(valid_cut)
        valid = np.where(is_eligible & (valid < test_cut), valid, NEVER)
        rows[name, "train"] = task.row[task.end < valid_cut[task.user]]
        rows[name, "valid"] = _over_before(task, last_rows(task, valid), test_cut)
        rows[name, "test"] = last_rows(task, test)
    return rows


def _over_before(task: KeyedRows, rows: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Those of some rows of the task whose clicks all come before their user's cut."""
    place = np.searchsorted(task.row, rows)
    return rows[task.end[place] < cut[task.user[place]]]


def _split_per_task(rec: RecEvents, search: SearchEvents, history_order: str) -> Rows:
    """Each task on its own, for parity with papers; one task's cuts do not bind the other.

    Usable positives have at least one earlier event of either service (a search without a click
    is an event too). Users with three distinct keys of usable positives: the last row of the last
    key is the test target, the last row of the last but one key the valid target, usable rows
    before that key are train. Rows tied with a target, and users with fewer keys, are unused.
    Source: GenSAR and GSERec repositories (their events have an order; the rule for ties is ours).
    """
    n_users = count_users(rec, search)
    tasks = key_rows(rec, search, history_order, every_search=True)
    first = np.full(n_users, NEVER, np.int64)
    for task in tasks:
        np.minimum.at(first, task.user, task.key)
    rows: Rows = {}
    positive = (rec.positive, search.positive)
    for name, task, is_positive in zip(TASKS, tasks, positive, strict=True):
        usable = is_positive[task.row] & (task.key > first[task.user])
        task = task.take(usable)
        keys = distinct_keys(task, n_users)
        enough = keys.per_user() >= 3
        valid = np.where(enough, keys.from_end(2), BEFORE)
        test = np.where(enough, keys.from_end(1), NEVER)
        rows[name, "train"] = task.row[task.end < valid[task.user]]
        last = last_rows(task, np.where(enough, valid, NEVER))
        rows[name, "valid"] = _over_before(task, last, test)
        rows[name, "test"] = last_rows(task, test)
    return rows


def _split_by_time(
    rec: RecEvents, search: SearchEvents, t1: int | None, t2: int | None
) -> tuple[Rows, dict[str, Any]]:
    """Two cut times for everybody: train ts < t1 <= valid ts < t2 <= test ts.

    Without cut times: the times 80 % and 90 % of the way through the positives of both tasks.
    """
    if (t1 is None) != (t2 is None):
        raise InputError("global_time: only one of t1 and t2 is given; give both or neither")
    if t1 is None or t2 is None:
        times = np.sort(np.concatenate([rec.ts[rec.positive], search.ts[search.positive]]))
        if not len(times):
            raise InputError("global_time: the dataset has no positives; check labels and clicks")
        t1, t2 = (int(times[len(times) * tenths // 10]) for tenths in (8, 9))
    if t1 >= t2:
        raise InputError(f"global_time: t1 {t1} is not before t2 {t2}; give other cut times in ms")
    rows: Rows = {}
    times_of = (
        (rec.ts, rec.ts, rec.positive),
        (search.ts, search.last_clicks(order_clicks(rec, search))[0], search.positive),
    )
    for task, (ts, over, positive) in zip(TASKS, times_of, strict=True):
        row = np.flatnonzero(positive)
        part, end = (np.searchsorted([t1, t2], when[row], side="right") for when in (ts, over))
        whole = (part == end) | (part == PARTS.index("test"))
        rows |= {(task, name): row[whole & (part == number)] for number, name in enumerate(PARTS)}
    return rows, {"t1": t1, "t2": t2}


class CutViolation(NamedTuple):
    """Two rows of one user that a joint split should have the other way round."""

    user: int
    earlier: tuple[str, str, int]  # (task, part, row number) that must come first
    later: tuple[str, str, int]


def check_joint_invariant(
    rec: RecEvents,
    search: SearchEvents,
    rows: Mapping[tuple[str, str], np.ndarray],
    history_order: str,
) -> list[CutViolation]:
    """Looks for users whose parts overlap in time: over both tasks, every train key must be below
    every valid key, and every valid key below every test key. The earlier row of a pair counts at
    its end, the last click of a search.

    Returns one violation per user and pair of parts, empty for a sound joint split.
    """
    task = np.repeat([TASKS.index(t) for t, _ in rows], [len(r) for r in rows.values()])
    part = np.repeat([PARTS.index(p) for _, p in rows], [len(r) for r in rows.values()])
    row = np.concatenate([np.asarray(r, np.int64) for r in rows.values()])
    is_search = task == TASKS.index("search")
    n = len(row)
    user, ts, seq, over_ts, over_seq = (np.empty(n, np.int64) for _ in range(5))
    over = ((rec.ts, rec.seq), search.last_clicks(order_clicks(rec, search)))
    for mask, events, last in ((~is_search, rec, over[0]), (is_search, search, over[1])):
        columns = (*events[:3], *last)
        for out, column in zip((user, ts, seq, over_ts, over_seq), columns, strict=True):
            out[mask] = column[row[mask]]
    moments = (np.append(ts, over_ts), np.append(seq, over_seq))
    start, over_at = np.split(rank_keys(np.tile(user, 2), *moments, history_order), 2)
    n_users = 1 + int(user.max(initial=0))
    violations: list[CutViolation] = []
    for early, late in ((0, 1), (1, 2), (0, 2)):
        end, begin = (np.full(n_users, -1, np.int64) for _ in range(2))
        listed = np.argsort(over_at, kind="stable")
        listed = listed[part[listed] == early]
        end[user[listed]] = listed  # the last assignment stays: the latest end
        listed = np.argsort(-start, kind="stable")
        listed = listed[part[listed] == late]
        begin[user[listed]] = listed  # and the earliest begin
        both = np.flatnonzero((end >= 0) & (begin >= 0))
        for who in both[over_at[end[both]] >= start[begin[both]]]:
            pair = [(TASKS[task[i]], PARTS[part[i]], int(row[i])) for i in (end[who], begin[who])]
            violations.append(CutViolation(int(who), *pair))
    return violations
