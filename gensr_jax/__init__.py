"""GenSR, generative search and recommendation: a reimplementation of arXiv 2504.06714 with listed
corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.data.dataset import Dataset
    from common.training.task import Task

__all__ = ["build"]


def build(config: Any, dataset: Dataset) -> Task:
    """The GenSR task of a configuration (the keys of `gensr_jax/configs/base.py`) on a dataset.

    Raises InputError naming the config key that cannot be.
    """
    # Imported here: reading a config file must not start jax.
    from gensr_jax.from_config import build_task

    return build_task(config, dataset)
