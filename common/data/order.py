"""Which target rows the batch of a step has: a function of the step, whoever asks and when.

Shapes: [r] target rows  [b] rows of this process's slice of a batch
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.hashing import EPOCH, draw_words


class Slots(NamedTuple):
    """The rows of one batch."""

    place: np.ndarray  # int64 [b], which of the r target rows; a pad repeats the first of its batch
    valid: np.ndarray  # bool [b], False = padding
    epoch: int


class BatchOrder:
    """Cuts r target rows into batches, epoch after epoch, shuffled anew in each or in order."""

    def __init__(
        self,
        n_rows: int,
        batch_size: int,
        *,
        epochs: int = 1,
        process: int = 0,
        processes: int = 1,
        shuffle_seed: int | None = None,
    ) -> None:
        """batch_size: global; process p gets the p-th slice; shuffle_seed None: rows in order."""
        self.n_rows = n_rows
        self.steps_per_epoch = -(-n_rows // batch_size)
        self._epochs, self._batch_size, self._seed = epochs, batch_size, shuffle_seed
        self._local_size = batch_size // processes
        self._local_start = process * self._local_size
        self._order = (-1, np.zeros(0, np.int64))  # (epoch, its permutation): the one in use

    def __len__(self) -> int:
        return self._epochs * self.steps_per_epoch

    def __getitem__(self, step: int) -> Slots:
        step = range(len(self))[step]
        epoch, number = divmod(step, self.steps_per_epoch)
        start = number * self._batch_size
        slot = start + self._local_start + np.arange(self._local_size)
        valid = slot < self.n_rows
        place = np.where(valid, slot, start)
        if self._seed is not None:
            place = self._permutation(self._seed, epoch)[place]
        return Slots(place, valid, epoch)

    def position(self, step: int) -> dict[str, int]:
        """Where a run stands that has consumed `step` batches: {"epoch", "next_batch"}."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        return {"epoch": epoch, "next_batch": batch}

    def _permutation(self, seed: int, epoch: int) -> np.ndarray:
        """int64 [r]: the order of the target rows in an epoch."""
        known, order = self._order  # one read, so that threads cannot mix two epochs
        if known != epoch:
            words = draw_words(seed, EPOCH, epoch, np.arange(self.n_rows))
            order = np.argsort(words, kind="stable")
            self._order = (epoch, order)
        return order
