"""What training has never seen, counted in one way by `prepare`, the audit and results."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.data.dataset import Dataset
from common.data.events import TASKS
from common.data.negatives import row_items


def mark_warm_items(
    dataset: Dataset, rows: Mapping[tuple[str, str], np.ndarray] | None = None
) -> np.ndarray:
    """bool [n_items + 1]: the item stands in a training row of the split, of either task.

    rows: (task, part) -> int64 row numbers; None = the dataset's
    An item is warm for both tasks when one of them trains on it, and every click of a training
    search counts, not the first alone. All others are cold; entry 0, no item, is cold.
    Source: ours.
    """
    rows = dataset.rows if rows is None else rows
    warm = np.zeros(dataset.n_items + 1, bool)
    for task in TASKS:
        warm[row_items(dataset.events(task), rows[task, "train"])[1]] = True
    warm[0] = False
    return warm
