"""What training has never seen: one count, so that every report means the same by "cold".

Shapes: [I] items + 1
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.data.dataset import Dataset
from common.data.events import TASKS
from common.data.negatives import row_items


def count_in_training(dataset: Dataset, rows: Mapping[tuple[str, str], np.ndarray]) -> np.ndarray:
    """int64 [I]: how often each item stands in a train row of either task; 0 = a cold item.

    rows: (task, part) -> row numbers, such as `dataset.rows`. All clicked items of a train search
    count, not only its target. Entry 0 belongs to no item.
    Source: ours.
    """
    items = [row_items(dataset.events(task), rows[task, "train"])[1] for task in TASKS]
    return np.bincount(np.concatenate(items), minlength=dataset.n_items + 1)
