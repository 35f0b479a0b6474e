"""Training batches of both tasks in one shuffled stream.

Every row is gathered by the source of its own task, so it has the same history and the same
negatives as when its task is trained alone.

Shapes: [B] batch
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from common.data.histories import Columns
from common.data.order import BatchOrder

Batch = dict[str, np.ndarray]


class RowSource(Protocol):
    """The rows of one task, as `common.data.batches.BatchSource` has them."""

    n_rows: int
    resident: Columns | None

    def gather(self, place: np.ndarray, valid: np.ndarray, epoch: int) -> Batch: ...


class MixedSource:
    """Random access to batches that have rows of several tasks: source[i] is that of step i.

    The rows of all tasks are shuffled together, so a batch has about as large a share of each
    task as the training data. `row` counts in the table of the row's own task.
    Made by `common.data.batches.training_source` for a view of task "both".
    """

    def __init__(self, sources: tuple[RowSource, ...], order: BatchOrder) -> None:
        """order: over the rows of all sources, one source after the other."""
        self.n_rows = order.n_rows
        self.steps_per_epoch = order.steps_per_epoch
        self.resident = sources[0].resident
        self._sources, self._order = sources, order
        sizes = [source.n_rows for source in sources]
        self._start = np.cumsum([0, *sizes])
        assert self._start[-1] == order.n_rows, (sizes, order.n_rows)

    def __len__(self) -> int:
        return len(self._order)

    def __repr__(self) -> str:
        return f"MixedSource({', '.join(map(repr, self._sources))})"

    def __getitem__(self, step: int) -> Batch:
        place, valid, epoch = self._order[step]
        owner = np.searchsorted(self._start, place, side="right") - 1
        slots, parts = [], []
        for number, source in enumerate(self._sources):
            mine = np.flatnonzero(owner == number)
            slots.append(mine)
            parts.append(source.gather(place[mine] - self._start[number], valid[mine], epoch))
        back = np.argsort(np.concatenate(slots))
        return {
            name: np.concatenate([part[name] for part in parts]).take(back, axis=0)
            for name in parts[0]
        }

    def position(self, step: int) -> dict[str, int]:
        """Where a run stands that has consumed `step` batches: {"epoch", "next_batch"}."""
        return self._order.position(step)
