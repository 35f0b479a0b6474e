"""Training sequences: many targets of a user in one pass of a causal model.

A causal model has a state after each event, which has read that event and the older ones. So one
pass over a user's events serves all targets of the user: each reads the state of the newest event
of its own strict history. Events that share a key share that history, and so that state; an event
without a history reads the model's start vector.

A segment is a run of events of one user, not longer than the window of the view. Several segments
share a packed row, or most of a row would be padding. A target whose history is longer than the
window has a segment of its own with the newest events of it: exactly what evaluation reads.

Shapes: [B] packed rows  [L] slots of a row, the window  [G] targets of a batch  [n] negatives
        [R] all targets  [S] segments  [P] all packed rows
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from common.data.batches import Batch, choose_training_rows
from common.data.dataset import Dataset
from common.data.hashing import EPOCH, draw_words
from common.data.histories import Columns
from common.data.negatives import TrainingNegatives
from common.data.timeline import Timeline, expand_ranges
from common.data.view import View
from common.errors import InputError

_OPEN_ROWS = 256  # packed rows that a segment may still go to: fills 95 % at a bounded cost
_TARGETS_PER_SLOT = 2  # a packed row has at most 2 L targets


class SequenceSource:
    """Random access to batches of packed sequences: source[i] is the batch of step i.

    rec_item  int32 [B, L]   items, oldest first within a segment; 0 pads at the end of a row
    segment   int32 [B, L]   1, 2, ... within a row; 0 pads
    target    int32 [G]      items to predict
    reader    int32 [G]      which state predicts: 1 + L * row + slot; 0 = the start vector
    valid     uint8 [G]      0 = padding
    row, user int64, int32 [G]
    negatives int32 [G, n]

    Which segments share a packed row is fixed; which rows share a batch changes every epoch. Rows
    are sorted by their number of targets and cut into B strata, and a batch gets one row of each:
    so every batch has about the same number of targets, never more than G.
    Made by `sequence_source`.
    """

    resident: Columns | None = None  # the host packs sequences

    def __init__(
        self,
        dataset: Dataset,
        view: View,
        rows: np.ndarray,
        batch_size: int,
        seed: int,
        epochs: int,
        process: int,
        processes: int,
    ) -> None:
        """Takes over checked arguments; see `sequence_source`."""
        self.n_rows = len(rows)
        self._view, self._seed, self._epochs = view, seed, epochs
        self._batch_size, self._process, self._processes = batch_size, process, processes
        self._sampler = TrainingNegatives(dataset, view.task, view.negative_sampling, seed)
        self._item = dataset.timeline.rec_item
        self._rows, events = rows, dataset.events(view.task)
        self._user, self._target = events.user[rows], events.target[rows]

        self._segments = cut_segments(dataset.timeline, view, rows)
        sizes, targets = self._segments.size, self._segments.targets
        pack = _pack(sizes, targets, view.rec_length, seed)
        self._order = np.argsort(pack, kind="stable")  # segments by packed row
        self._count = np.bincount(pack)
        self._start = np.cumsum(self._count) - self._count
        per_row = np.bincount(pack, targets).astype(np.int64)
        self._by_targets = np.argsort(-per_row, kind="stable")
        self.steps_per_epoch = -(-len(per_row) // batch_size)
        most = per_row[self._by_targets][:: self.steps_per_epoch].sum()
        self._budget = int(-(-most // batch_size) * batch_size)  # divides by the devices, as B does
        self._shuffle = (-1, self._by_targets)  # (epoch, its order): the one in use
        self._name = (
            f"SequenceSource(training seed {seed}, {dataset.name} {dataset.sha256[:12]}, "
            f"{dataset.split}, {dataset.history_order}, targets {self.n_rows}, "
            f"batch {batch_size}, epochs {epochs}, {view})"
        )

    def __len__(self) -> int:
        return self._epochs * self.steps_per_epoch

    def __repr__(self) -> str:
        # Grain stores this in checkpoints: no addresses and no process.
        return self._name

    def __getitem__(self, step: int) -> Batch:
        step = range(len(self))[step]
        epoch, number = divmod(step, self.steps_per_epoch)
        packed = self._shuffled(epoch)[:, number]
        packed = packed[packed >= 0]
        batch = self._gather(packed, epoch)
        if self._processes == 1:
            return batch
        return {name: self._take_share(array) for name, array in batch.items()}

    def position(self, step: int) -> dict[str, int]:
        """Where a run stands that has consumed `step` batches: {"epoch", "next_batch"}."""
        epoch, batch = divmod(step, self.steps_per_epoch)
        return {"epoch": epoch, "next_batch": batch}

    def _shuffled(self, epoch: int) -> np.ndarray:
        """int64 [B, steps]: the packed rows of each batch of an epoch, -1 = none."""
        known, order = self._shuffle  # one read, so that threads cannot mix two epochs
        if known != epoch:
            slots = self._batch_size * self.steps_per_epoch
            order = np.full(slots, -1)
            order[: len(self._by_targets)] = self._by_targets
            words = draw_words(self._seed, EPOCH, epoch, np.arange(slots))
            strata = words.reshape(self._batch_size, -1).argsort(axis=1, kind="stable")
            order = np.take_along_axis(order.reshape(strata.shape), strata, axis=1)
            self._shuffle = (epoch, order)
        return order

    def _gather(self, packed: np.ndarray, epoch: int) -> Batch:
        """The whole batch of some packed rows."""
        length = self._view.rec_length
        item = np.zeros((self._batch_size, length), np.int32)
        segment = np.zeros_like(item)
        count = self._count[packed]
        chosen = self._order[expand_ranges(self._start[packed], count)]
        line = np.repeat(np.arange(len(packed)), count)
        place = np.arange(len(chosen)) - np.repeat(np.cumsum(count) - count, count)
        size, targets = self._segments.size[chosen], self._segments.targets[chosen]
        slot = line * length + _sum_before(size, place)

        filled = expand_ranges(slot, size)
        item.flat[filled] = self._item[expand_ranges(self._segments.begin[chosen], size)]
        segment.flat[filled] = np.repeat(place + 1, size)

        which = expand_ranges(self._segments.first[chosen], targets)
        valid = np.arange(self._budget) < len(which)
        read = self._segments.read[which]
        reader = np.zeros(self._budget, np.int32)
        reader[valid] = np.where(read > 0, np.repeat(slot, targets) + read, 0)
        which = np.concatenate([which, np.full(self._budget - len(which), which[0])])
        row, user, target = self._rows[which], self._user[which], self._target[which]
        return {
            "rec_item": item,
            "segment": segment,
            "target": target,
            "reader": reader,
            "valid": valid.astype(np.uint8),
            "row": row,
            "user": user,
            "negatives": self._sampler.draw(row, user, target, epoch, self._view.negatives),
        }

    def _take_share(self, array: np.ndarray) -> np.ndarray:
        size = len(array) // self._processes
        return array[self._process * size :][:size]


def sequence_source(
    dataset: Dataset,
    view: View,
    batch_size: int,
    seed: int,
    epochs: int,
    process: int = 0,
    processes: int = 1,
) -> SequenceSource:
    """Shuffled training batches of packed sequences with fresh negatives each epoch.

    Targets are the same rows as those of `common.data.batches.training_source`, each once an epoch.
    view:       `rec_length` is the window L, at least 1; searches are not read
    batch_size: packed rows B, global, over all processes
    Raises InputError when no train row is usable or the batch cannot be shared out evenly.
    """
    if batch_size < 1 or batch_size % processes:
        raise InputError(
            f"batch_size {batch_size}: does not divide by {processes} processes; "
            f"use a positive multiple of {processes}"
        )
    rows = choose_training_rows(dataset, view)
    return SequenceSource(dataset, view, rows, batch_size, seed, epochs, process, processes)


@dataclass(frozen=True)
class Segments:
    """Runs of events and the targets that they serve; targets of a segment are consecutive."""

    begin: np.ndarray  # int64 [S], first event in the timeline
    size: np.ndarray  # int64 [S], events, 0..L
    first: np.ndarray  # int64 [S], first target
    targets: np.ndarray  # int64 [S], how many
    read: np.ndarray  # int64 [R], events of its segment that a target may read: the oldest ones


def cut_segments(timeline: Timeline, view: View, rows: np.ndarray) -> Segments:
    """The fewest runs of at most `view.rec_length` events that serve all targets exactly.

    rows: int64 [R], row numbers of the targets, ascending, so the targets of a user are together
    """
    length = view.rec_length
    end, _, start, _ = timeline.ends(view.task, rows)
    begin = np.maximum(start, end - length)
    fresh = np.ones(len(rows), bool)
    fresh[1:] = (begin[1:] != begin[:-1]) | (start[1:] != start[:-1])
    # A run with very many targets is cut, so that each part fits into a packed row.
    first = np.flatnonzero(fresh)
    number = np.arange(len(rows)) - np.repeat(first, np.diff(first, append=len(rows)))
    fresh |= number % (_TARGETS_PER_SLOT * length) == 0
    first = np.flatnonzero(fresh)
    targets = np.diff(first, append=len(rows))
    read = end - begin
    size = read[first + targets - 1]  # histories grow from target to target
    return Segments(begin[first], size, first, targets, read)


def _pack(size: np.ndarray, targets: np.ndarray, length: int, seed: int) -> np.ndarray:
    """int64 [S]: the packed row of each segment, in random order first fit over the open rows."""
    room = np.full(_OPEN_ROWS, length)
    room_for_targets = np.full(_OPEN_ROWS, _TARGETS_PER_SLOT * length)
    name = np.arange(_OPEN_ROWS)
    used, pack = _OPEN_ROWS, np.empty(len(size), np.int64)
    for i in np.argsort(draw_words(seed, EPOCH, 0, np.arange(len(size))), kind="stable"):
        fits = (room >= size[i]) & (room_for_targets >= targets[i])
        place = int(fits.argmax())
        if not fits[place]:
            place = int(room.argmin())  # the fullest row is closed for a new one
            room[place], room_for_targets[place] = length, _TARGETS_PER_SLOT * length
            name[place] = used
            used += 1
        room[place] -= size[i]
        room_for_targets[place] -= targets[i]
        pack[i] = name[place]
    return np.unique(pack, return_inverse=True)[1]


def _sum_before(size: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The slots that the segments before each one take in its row; place 0 starts a row."""
    before = np.cumsum(size) - size
    return before - np.maximum.accumulate(np.where(place == 0, before, 0))
