"""What an evaluation of one task needs that does not depend on the parameters: its host batches.

Shapes: [B] batch  [n] ranked rows  [F] filtered items per row
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from common.data.batches import evaluation_source
from common.data.dataset import Dataset
from common.data.hashing import TASK_STREAM
from common.ranking.blind import (
    PLACES,
    SEEN,
    blank_target,
    draw_items,
    draw_order,
    hide_target,
    pad_columns,
)
from common.ranking.rows import RankedRows
from common.ranking.seen import FilterChoice, find_seen, pad_seen
from common.training.task import Task

FULL = "full"
HostBatch = dict[str, np.ndarray]


class Plan(NamedTuple):
    """The rows of one task in batches."""

    ranked: RankedRows
    batches: list[HostBatch]  # with "seen" int32 [B, F] where `full` is ranked
    # The same rows as a retriever that is another model sees them; None where there is none
    others: list[HostBatch] | list[None]
    columns: dict[str, slice]  # protocol -> its negatives in batch["negatives"]
    orders: list[np.ndarray]  # int16 [B, C] for each batch, see `common.ranking.blind`
    full: bool
    mean_size: float  # of the full ranking


def make_plan(
    task: Task,
    dataset: Dataset,
    name: str,
    ranked: RankedRows,
    full: bool,
    *,
    batch_size: int,
    filter_seen: str,
) -> Plan:
    """Builds the host batches of one task."""
    columns, begin = {}, 0
    for protocol, stored in ranked.lists.items():
        columns[protocol] = slice(begin, begin + stored.items.shape[1] - 1)
        begin = columns[protocol].stop
    stream = TASK_STREAM[name]
    filler = draw_items(
        stream, ranked.rows, pad_columns(begin + 1) if begin else 0, dataset.n_items
    )
    negatives = np.concatenate(
        [stored.items[:, 1:] for stored in ranked.lists.values()] + [filler], axis=1
    )
    view = dataclasses.replace(task.view, task=name)
    source = evaluation_source(dataset, view, ranked.rows, batch_size, negatives)
    batches = [dict(source[index]) for index in range(len(source))]
    orders = [draw_order(stream, batch["row"], 1 + negatives.shape[1]) for batch in batches]
    mean_size = 0.0
    if full:
        seen = find_seen(dataset, name, ranked.rows, filter_seen)
        mean_size = dataset.n_items - len(seen.items) / len(ranked.rows)
        for index, batch in enumerate(batches):
            begin = index * batch_size
            end = min(begin + batch_size, len(ranked.rows))
            batch[SEEN] = pad_seen(seen, begin, end, batch_size)
    others: list[HostBatch] | list[None] = [None] * len(batches)
    retriever = task.retrievers.get(name)
    if full and task.score_catalogue is None and retriever is not None:
        count = 1 + min(retriever.count, dataset.n_items)
        for batch in batches:
            batch[PLACES] = draw_order(stream, batch["row"], count + pad_columns(count))
    if full and task.score_catalogue is None and retriever is not None and retriever.other:
        # All rows, also those with fewer earlier events than the other model was trained on.
        view = dataclasses.replace(retriever.other.view, task=name)
        source = evaluation_source(dataset, view, ranked.rows, batch_size)
        others = [dict(source[index]) for index in range(len(source))]
    return Plan(ranked, batches, others, columns, orders, full, mean_size)


def hide_targets(
    plan: Plan, n_items: int, edit: Callable[[HostBatch], HostBatch] | None = None
) -> list[tuple[HostBatch, HostBatch | None]]:
    """The batches of a plan as a method sees them, each beside what another model sees, or None.

    edit: changes the histories of each host batch first
    """
    edit = edit or (lambda batch: batch)
    return [
        (
            hide_target(edit(batch), order, n_items),
            None if beside is None else blank_target(edit(beside), n_items),
        )
        for batch, order, beside in zip(plan.batches, plan.orders, plan.others, strict=True)
    ]


def describe_plans(
    plans: Mapping[str, Plan],
    part: str,
    history_order: str,
    chosen: FilterChoice,
    min_history: int,
) -> dict[str, Any]:
    """The protocol as result files carry it."""
    candidates, sizes = {}, {}
    for task, plan in plans.items():
        if plan.full:
            sizes[f"{task}/{FULL}"] = plan.mean_size
        for name, stored in plan.ranked.lists.items():
            candidates[f"{task}/{name}"] = stored.sha256
            sizes[f"{task}/{name}"] = float(stored.items.shape[1])
    return {
        "part": part,
        "history_order": history_order,
        "filter_seen": chosen.name,
        "filter_reason": chosen.reason,
        "repeats": chosen.repeats,
        "min_history": min_history,
        "rows": {task: len(plan.ranked.rows) for task, plan in plans.items()},
        "users": {task: len(np.unique(plan.ranked.users)) for task, plan in plans.items()},
        "candidates": candidates,
        "sizes": sizes,
    }
