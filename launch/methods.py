"""The methods by name: a configuration becomes a task."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from typing import Any

from common.data.batches import Batch, evaluation_source
from common.data.dataset import Dataset
from common.data.timeline import Timeline
from common.errors import InputError
from common.training.task import Task

METHODS = {
    "lcr": "lcr_jax",
    "gensr": "gensr_jax",
    "sasrec": "baselines_jax",
    "item_knn": "baselines_jax",
}


def build_task(config: Any, dataset: Dataset) -> Task:
    """The task of the method that the configuration names. Raises InputError."""
    if config.method not in METHODS:
        near = difflib.get_close_matches(config.method, METHODS, 1) or list(METHODS)
        raise InputError(f"config.method: no method {config.method!r}; did you mean {near[0]}?")
    build = importlib.import_module(METHODS[config.method]).build
    task: Task = build(config, dataset)
    return task


def take_batch(task: Task, dataset: Dataset, timeline: Timeline) -> Batch:
    """A small batch of the task's view, for shapes."""
    served = task.tasks[0]
    view = dataclasses.replace(task.view, task=served)
    rows = dataset.rows[served, "test"][:1]
    return evaluation_source(dataset, timeline, view, rows, 2)[0]
