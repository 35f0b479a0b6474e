"""Which target of a user is explained, and what every explanation says about it."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from common.data.dataset import Dataset
from common.data.events import RecEvents
from common.data.names import Names, User
from common.errors import InputError
from common.ranking.top import TopItems
from common.report.tables import format_time

Explanation = dict[str, Any]


class Case(NamedTuple):
    """One target to explain."""

    dataset: Dataset
    row: int  # of the task's table
    part: str  # "test", "valid", or "next": what would be recommended after the whole history
    task: str = "rec"  # or "search"

    @property
    def now(self) -> int:
        """When the target is, in ms."""
        return int(self.dataset.events(self.task).ts[self.row])

    @property
    def resolution(self) -> str:
        """Of times: "day" or finer."""
        return str(self.dataset.manifest.get("time", {}).get("resolution", "ms"))


def choose_case(dataset: Dataset, user: User, min_history: int, where: str = "--users") -> Case:
    """The user's newest target of the test part; else of validation; else what comes next.

    where: what an error names
    Raises InputError for a user with fewer than `min_history` events in all.
    """
    case = find_case(dataset, user, min_history, "rec")
    if case is not None:
        return case
    timeline = dataset.timeline
    events = np.diff(timeline.rec_off)[user.number] + np.diff(timeline.search_off)[user.number]
    if events < max(min_history, 1):
        raise InputError(
            f"{where}: {user.raw_id} has {events} event(s), the model needs at least "
            f"{max(min_history, 1)}; name a user with a longer history"
        )
    return append_next(dataset, user.number)


def append_next(dataset: Dataset, user: int) -> Case:
    """What would be recommended to a user after the whole history."""
    longer, rows = append_targets(dataset, np.array([user]))
    return Case(longer, int(rows[0]), "next")


def append_targets(dataset: Dataset, users: np.ndarray) -> tuple[Dataset, np.ndarray]:
    """A copy of a dataset with a target without an item for each user, 1 ms after the last event
    or click: the dataset, and the rows int64 [n] of the targets in rec.parquet.

    users: int [n], each once
    """
    rec, search = dataset.rec, dataset.search
    last = np.zeros(dataset.n_users + 1, np.int64)
    clicker = search.user[search.click_search]
    for of, ts in ((rec.user, rec.ts), (search.user, search.ts), (clicker, search.click_ts)):
        np.maximum.at(last, of, ts)
    place = np.searchsorted(rec.user, users, side="right")
    event = {"user": users, "ts": last[users] + 1, "seq": 0, "item": 0, "label": 1}
    columns = [np.insert(getattr(rec, name), place, event[name]) for name in RecEvents._fields]
    moved = {
        (task, part): rows + np.searchsorted(np.sort(place), rows, side="right")
        if task == "rec"
        else rows
        for (task, part), rows in dataset.rows.items()
    }
    longer = dataclasses.replace(dataset, rec=RecEvents(*columns), rows=moved)
    order = np.argsort(np.argsort(place, kind="stable"), kind="stable")
    return longer, place + order


def find_case(dataset: Dataset, user: User, min_history: int, task: str) -> Case | None:
    """The user's newest target of a task in the test part; else in validation; else None."""
    users = dataset.events(task).user
    for part in ("test", "valid"):
        rows = dataset.rows[task, part]
        rows = rows[users[rows] == user.number]
        rows = rows[dataset.timeline.history_size(task, rows) >= min_history]
        if len(rows):
            return Case(dataset, int(rows[-1]), part, task)  # sorted by time
    return None


def describe_case(case: Case, method: str) -> Explanation:
    """What was explained: part, data, split and method."""
    return {
        "part": case.part,
        "dataset": {"name": case.dataset.name, "sha256": case.dataset.sha256},
        "split": case.dataset.split,
        "method": method,
    }


def tell_target(case: Case, names: Names, top: TopItems) -> Explanation | None:
    """Where the true target stands in the full ranking; None for "next"."""
    target = int(case.dataset.events(case.task).target[case.row])
    if target == 0:
        return None
    low = 1 + int(top.target.final.greater[0])
    return names.item(target) | {
        "time": format_time(case.now, case.resolution),
        "score": float(top.target.score[0]),
        "rank": low,
        "rank_if_ties_lost": low + int(top.target.final.equal[0]),
        "ranked_items": int(top.ranked_items),
    }


def list_items(names: Names, top: TopItems) -> list[Explanation]:
    """The items that would be recommended, best first."""
    return [
        {"rank": place, **names.item(int(item)), "score": float(score)}
        for place, (item, score) in enumerate(zip(top.items[0], top.scores[0], strict=True), 1)
        if item
    ]
