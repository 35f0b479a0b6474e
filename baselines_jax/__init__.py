"""Baselines on the same trainer and evaluator as the methods."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.data.dataset import Dataset
    from common.training.task import Task

__all__ = ["build"]

MODULES = {"sasrec": "baselines_jax.sasrec", "item_knn": "baselines_jax.item_knn"}


def build(config: Any, dataset: Dataset) -> Task:
    """The task of the baseline that `config.method` names, on a dataset.

    Raises InputError naming the config key that cannot be.
    """
    # Imported here: reading a config file must not start jax.
    task: Task = importlib.import_module(MODULES[config.method]).build(config, dataset)
    return task
