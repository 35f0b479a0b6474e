"""From settings to a task."""

from __future__ import annotations

import dataclasses
from typing import Any

from common.data.batches import Batch, evaluation_source
from common.data.dataset import Dataset
from common.data.sequences import sequence_source
from common.runs.methods import find_method, settle
from common.training.check_kinds import check_kinds
from common.training.task import Stage, Task


def build_task(config: Any, dataset: Dataset) -> Task:
    """The task of the method that settings, or a configuration, name. Raises InputError."""
    settings = settle(config)
    task = find_method(settings.method).build(settings, dataset)
    check_kinds(task, f"config.method = {settings.method}, build")
    return task


def take_stage_batch(stage: Stage, task: Task, dataset: Dataset) -> Batch:
    """A small batch as the stage trains on, for shapes."""
    if stage.view.packed:
        return sequence_source(dataset, stage.view, 1, 0, 1)[0]
    return take_batch(task._replace(view=stage.view), dataset)


def take_batch(task: Task, dataset: Dataset) -> Batch:
    """A small batch of the task's view, for shapes."""
    served = task.tasks[0]
    view = dataclasses.replace(task.view, task=served)
    rows = dataset.rows[served, "test"][:1]
    return evaluation_source(dataset, view, rows, 2)[0]
