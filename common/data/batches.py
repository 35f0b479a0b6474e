"""Batches as arrays of fixed shapes: one grain record is one whole batch.

A Python record per example gives 1k to 30k examples a second, a record per batch several hundred
thousand (2 CPU cores): every field is one numpy gather from the timeline.

Shapes: [B] batch  [n] negatives
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from common.data.dataset import Dataset
from common.data.events import TASKS
from common.data.hashing import TASK_STREAM
from common.data.histories import ENDS, Columns, gather_history, take_columns, take_rows
from common.data.mixed import MixedSource
from common.data.negatives import TrainingNegatives
from common.data.order import BatchOrder
from common.data.view import View
from common.errors import InputError

Batch = dict[str, np.ndarray]  # the fields that `View` describes


class BatchSource:
    """Random access to batches: source[i] is the batch of step i, whatever was read before.

    Padding rows of a last batch repeat that batch's first row with valid = 0, so that no method
    meets a row without a history only because of padding.
    Made by `training_source` and `evaluation_source`.
    """

    def __init__(
        self,
        dataset: Dataset,
        view: View,
        rows: np.ndarray,
        batch_size: int,
        *,
        epochs: int = 1,
        process: int = 0,
        processes: int = 1,
        shuffle_seed: int | None = None,
        sampler: TrainingNegatives | None = None,
        lists: np.ndarray | None = None,
        resident: Columns | None = None,
    ) -> None:
        """Takes over checked arguments; `lists` (int32 [rows, n]) or `sampler` give negatives."""
        self._order = BatchOrder(
            len(rows),
            batch_size,
            epochs=epochs,
            process=process,
            processes=processes,
            shuffle_seed=shuffle_seed,
        )
        self.n_rows = len(rows)
        self.steps_per_epoch = self._order.steps_per_epoch
        self._sampler, self._lists = sampler, lists
        self._view, self._rows = view, rows
        self._timeline = timeline = dataset.timeline
        index = timeline.find(view.task, rows)
        self._columns = take_columns(timeline, view) if resident is None else resident
        self._ends = dict(zip(ENDS, timeline.ends_at(view.task, index), strict=True))
        self._target_ts = (timeline.search_ts if view.task == "search" else timeline.rec_ts)[index]
        self.resident = resident  # None = the host gathers histories
        events = dataset.events(view.task)
        self._user, self._target = events.user[rows], events.target[rows]
        if view.task == "search":
            self._query = dataset.search.query[rows]
        else:
            self._query = np.zeros(len(rows), np.int32)
        mode = "evaluation" if shuffle_seed is None else f"training seed {shuffle_seed}"
        self._name = (
            f"BatchSource({mode}, {dataset.name} {dataset.sha256[:12]}, {dataset.split}, "
            f"{dataset.history_order}, rows {self.n_rows}, batch {batch_size}, "
            f"epochs {epochs}, {view})"
        )

    def __len__(self) -> int:
        return len(self._order)

    def __repr__(self) -> str:
        # Grain stores this in checkpoints: no addresses, and no process, so that a run can be
        # resumed with another number of processes.
        return self._name

    def __getitem__(self, step: int) -> Batch:
        return self.gather(*self._order[step])

    def gather(self, place: np.ndarray, valid: np.ndarray, epoch: int) -> Batch:
        """The batch of any rows.

        place: int64 [B], which of the source's rows; valid: bool [B]; epoch: of the negatives
        """
        row, user, target = self._rows[place], self._user[place], self._target[place]
        if self._sampler is not None:
            drawn = epoch if self._view.fresh_negatives else 0
            negatives = self._sampler.draw(row, user, target, drawn, self._view.negatives)
        elif self._lists is not None:
            negatives = self._lists[place]
        else:
            negatives = np.zeros((len(place), 0), np.int32)
        return {
            "task": np.full(len(place), TASK_STREAM[self._view.task], np.uint8),
            "valid": valid.astype(np.uint8),
            "row": row,
            "user": user,
            "target": target,
            "query": self._query[place],
            "negatives": negatives,
            **self._gather_history(place),
        }

    def position(self, step: int) -> dict[str, int]:
        """Where a run stands that has consumed `step` batches: {"epoch", "next_batch"}."""
        return self._order.position(step)

    def _gather_history(self, place: np.ndarray) -> Batch:
        """The history fields of rows, or their `ENDS` alone: a device gathers the fields then."""
        ends = {name: array[place] for name, array in self._ends.items()}
        if self.resident is not None:
            return {name: array.astype(np.int32) for name, array in ends.items()}
        fields, (rec, rec_mask, search, search_mask) = gather_history(
            np, self._view, self._columns, ends
        )
        now, line = self._target_ts[place, None], self._timeline
        return fields | {
            "rec_age_ms": (now - take_rows(np, line.rec_ts, rec)) * rec_mask,
            "search_row": search * search_mask,
            "search_age_ms": (now - take_rows(np, line.search_ts, search)) * search_mask,
        }


def choose_training_rows(dataset: Dataset, view: View) -> np.ndarray:
    """The train rows with at least `view.min_history` earlier events, ascending: int64 [r].

    Raises InputError when there is none.
    """
    rows = dataset.rows[view.task, "train"]
    rows = rows[dataset.timeline.history_size(view.task, rows) >= view.min_history]
    if not len(rows):
        raise InputError(
            f"split {dataset.split}, {view.task}_train: no row with a history of at least "
            f"{view.min_history} event(s); lower min_history or use another split"
        )
    return rows


def training_source(
    dataset: Dataset,
    view: View,
    batch_size: int,
    seed: int,
    epochs: int,
    process: int = 0,
    processes: int = 1,
    resident: Columns | None = None,
) -> BatchSource | MixedSource:
    """Shuffled training batches with fresh negatives each epoch.

    view.task:  "rec", "search", or "both": the rows of both in one stream
    batch_size: global, over all processes; process p gets the p-th slice of every global batch
    epochs:     len(source) = epochs * steps_per_epoch; the last batch of an epoch may have pads
    resident:   the columns that a device gathers histories from, as int32: the batches have
                `common.data.histories.ENDS` in place of histories
    Targets are the train rows with at least `view.min_history` earlier events.
    Raises InputError when no train row is usable or the batch cannot be shared out evenly.
    """
    if batch_size < 1 or batch_size % processes:
        raise InputError(
            f"batch_size {batch_size}: does not divide by {processes} processes; "
            f"use a positive multiple of {processes}"
        )

    def open_task(task: str) -> BatchSource:
        own = replace(view, task=task)
        return BatchSource(
            dataset,
            own,
            choose_training_rows(dataset, own),
            batch_size,
            epochs=epochs,
            process=process,
            processes=processes,
            shuffle_seed=seed,
            sampler=TrainingNegatives(dataset, task, view.negative_sampling, seed),
            resident=resident,
        )

    if view.task != "both":
        return open_task(view.task)
    sources = tuple(open_task(task) for task in TASKS)
    order = BatchOrder(
        sum(source.n_rows for source in sources),
        batch_size,
        epochs=epochs,
        process=process,
        processes=processes,
        shuffle_seed=seed,
    )
    return MixedSource(sources, order)


def evaluation_source(
    dataset: Dataset,
    view: View,
    rows: np.ndarray,
    batch_size: int,
    negatives: np.ndarray | None = None,
) -> BatchSource:
    """Batches of given rows of one task in their order; only the last batch has pads.

    rows:      int64 [r], row numbers of the task's table, positives
    negatives: int32 [r, n], a stored candidate list without its positive; None = no candidates
    Raises InputError for no rows, or when rows and negatives differ in number.
    """
    if view.task not in TASKS:
        raise InputError(f"view of task {view.task!r}: use one of {', '.join(TASKS)} to evaluate")
    rows = np.asarray(rows, np.int64)
    if not len(rows) or batch_size < 1:
        raise InputError(
            f"split {dataset.split}, {view.task}: {len(rows)} rows in batches of {batch_size}; "
            "give at least one row and a batch size of at least 1"
        )
    if negatives is not None and len(negatives) != len(rows):
        raise InputError(
            f"candidate lists of {view.task}: {len(negatives)} lists for {len(rows)} rows; "
            "draw the lists for this split again"
        )
    return BatchSource(dataset, view, rows, batch_size, lists=negatives)


def iterate(source: BatchSource | MixedSource, start: int = 0) -> Iterator[Batch]:
    """Iterates over the batches from step `start`, read ahead by one thread of grain.

    Stop at any step and start there again: the batches are the same.
    """
    import grain  # imports jax: 0.9 s that a source alone does not need

    # Not grain's default of 16 threads: on few cores that is the slowest choice.
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)
    return iter(grain.MapDataset.source(source)[start:].to_iter_dataset(options))
