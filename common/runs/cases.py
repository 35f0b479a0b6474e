"""Which target of a user is explained, and what every explanation says about it."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from common.data.dataset import Dataset
from common.data.events import RecEvents
from common.data.names import User
from common.data.timeline import Timeline, build_timeline
from common.errors import InputError

Explanation = dict[str, Any]


class Case(NamedTuple):
    """One target to explain."""

    dataset: Dataset
    timeline: Timeline
    row: int  # of the task's table
    part: str  # "test", "valid", or "next": what would be recommended after the whole history
    task: str = "rec"  # or "search"

    @property
    def now(self) -> int:
        """When the target is, in ms."""
        ts = self.timeline.search_ts if self.task == "search" else self.timeline.rec_ts
        return int(ts[self.timeline.find(self.task, np.array([self.row]))[0]])

    @property
    def resolution(self) -> str:
        """Of times: "day" or finer."""
        return str(self.dataset.manifest.get("time", {}).get("resolution", "ms"))


def choose_case(dataset: Dataset, timeline: Timeline, user: User, min_history: int) -> Case:
    """The user's newest target of the test part; else of validation; else what comes next.

    Raises InputError for a user with fewer than `min_history` events in all.
    """
    case = find_case(dataset, timeline, user, min_history, "rec")
    if case is not None:
        return case
    events = np.diff(timeline.rec_off)[user.number] + np.diff(timeline.search_off)[user.number]
    if events < max(min_history, 1):
        raise InputError(
            f"--users: {user.raw_id} has {events} event(s), the model needs at least "
            f"{max(min_history, 1)}; name a user with a longer history"
        )
    return append_next(dataset, user.number)


def append_next(dataset: Dataset, user: int) -> Case:
    """A target without an item, 1 ms after the user's last event or click, in a dataset's copy."""
    rec, search = dataset.rec, dataset.search
    row = int(np.searchsorted(rec.user, user, side="right"))
    clicker = search.user[search.click_search]
    last = max(
        int(ts[of == user].max(initial=0))
        for of, ts in (
            (rec.user, rec.ts), (search.user, search.ts), (clicker, search.click_ts)
        )
    )  # fmt: skip
    event = {"user": user, "ts": last + 1, "seq": 0, "item": 0, "label": 1}
    columns = [np.insert(getattr(rec, name), row, event[name]) for name in RecEvents._fields]
    moved = {
        (task, part): rows + (rows >= row) if task == "rec" else rows
        for (task, part), rows in dataset.rows.items()
    }
    longer = dataclasses.replace(dataset, rec=RecEvents(*columns), rows=moved)
    timeline = build_timeline(longer.rec, search, dataset.n_users, dataset.history_order)
    return Case(longer, timeline, row, "next")


def find_case(
    dataset: Dataset, timeline: Timeline, user: User, min_history: int, task: str
) -> Case | None:
    """The user's newest target of a task in the test part; else in validation; else None."""
    users = dataset.events(task).user
    for part in ("test", "valid"):
        rows = dataset.rows[task, part]
        rows = rows[users[rows] == user.number]
        rows = rows[timeline.history_size(task, rows) >= min_history]
        if len(rows):
            return Case(dataset, timeline, int(rows[-1]), part, task)  # sorted by time
    return None


def describe_case(case: Case, method: str) -> Explanation:
    """What was explained: part, data, split and method."""
    return {
        "part": case.part,
        "dataset": {"name": case.dataset.name, "sha256": case.dataset.sha256},
        "split": case.dataset.split,
        "method": method,
    }
