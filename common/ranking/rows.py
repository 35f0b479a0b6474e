"""Which rows of a split part are ranked, and with which stored lists.

The evaluator and the sanity baselines both start here, so they rank the same rows.

Shapes: [n] ranked rows
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from common.data.dataset import CandidateList, Dataset
from common.errors import InputError


class RankedRows(NamedTuple):
    """What is ranked for one task: rows with enough history, their lists, their filters."""

    rows: np.ndarray  # int64 [n]
    users: np.ndarray  # int32 [n]
    targets: np.ndarray  # int32 [n]
    lists: dict[str, CandidateList]  # cut down to these rows


def choose_rows(
    dataset: Dataset,
    task: str,
    part: str,
    min_history: int,
    protocols: Sequence[str] | None = None,
) -> RankedRows:
    """The rows of a split part that are ranked, and their stored lists.

    protocols: names of stored lists to keep; None = all
    Raises InputError when no row is left, or a list does not belong to these rows.
    """
    rows = dataset.rows[task, part]
    events = dataset.events(task)
    keep = dataset.timeline.history_size(task, rows) >= min_history
    if not keep.any():
        raise InputError(
            f"{dataset.path.name}, split {dataset.split}, {task}_{part}: no row with "
            f"{min_history} or more earlier events; lower min_history, leave the task out, or "
            f"choose another split"
        )
    lists = {}
    for name, stored in dataset.load_lists(task, part).items():
        if protocols is not None and name not in protocols:
            continue
        where = f"{dataset.path.name}, candidates {name} of {task}_{part}"
        if len(stored.items) != len(rows):
            raise InputError(
                f"{where}: {len(stored.items)} lists for {len(rows)} rows; prepare the data again"
            )
        wrong = stored.items[:, 0] != events.target[rows]
        if wrong.any():
            raise InputError(
                f"{where}, row {int(np.argmax(wrong)) + 1}: column 0 is not the row's target; "
                f"prepare the data again"
            )
        lists[name] = CandidateList(stored.items[keep], stored.sha256)
    rows = rows[keep]
    return RankedRows(rows, events.user[rows], events.target[rows], lists)
