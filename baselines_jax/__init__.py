"""Baselines on the same trainer and evaluator as the methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from baselines_jax.settings import ItemKnn, Sasrec
from common.runs.methods import Method, find_method, settle

if TYPE_CHECKING:
    from common.data.dataset import Dataset
    from common.runs.workload import Workload
    from common.training.task import Task

__all__ = ["ITEM_KNN", "SASREC", "build"]


def build(config: Any, dataset: Dataset) -> Task:
    """The task of the baseline that `config.method` names, on a dataset.

    config: settings, or a configuration. Raises InputError naming the key that cannot be.
    """
    settings = settle(config)
    return find_method(settings.method).build(settings, dataset)


def _build_sasrec(settings: Sasrec, dataset: Dataset) -> Task:
    # Imported here, as below: reading a config file must not start jax.
    from baselines_jax.sasrec import build

    return build(settings, dataset)


def _build_item_knn(settings: ItemKnn, dataset: Dataset) -> Task:
    from baselines_jax.item_knn import build

    return build(settings, dataset)


def _sasrec_workload() -> Workload:
    from baselines_jax.workload import WORKLOAD

    return WORKLOAD


SASREC = Method(Sasrec(), _build_sasrec, workload=_sasrec_workload)
ITEM_KNN = Method(ItemKnn(), _build_item_knn)
