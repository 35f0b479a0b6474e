"""GenSR, generative search and recommendation: a reimplementation of arXiv 2504.06714 with listed
corrections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.runs.methods import Explainer, Method
from common.settings.reading import read_settings
from gensr_jax.settings import Settings

if TYPE_CHECKING:
    from common.data.dataset import Dataset
    from common.runs.workload import Workload
    from common.training.task import Task
    from gensr_jax.from_config import Opened

__all__ = ["METHOD", "build", "open_model"]


def build(config: Any, dataset: Dataset) -> Task:
    """The GenSR task of a configuration or `gensr_jax.settings.Settings` on a dataset.

    Raises InputError naming the config key that cannot be.
    """
    # Imported here: reading a config file must not start jax.
    from gensr_jax.from_config import open_task

    return open_task(read_settings(Settings(), config), dataset).task


def open_model(config: Any, dataset: Dataset) -> Opened:
    """The task of `build` with the module and the loss that it is made of: what studies look into.

    Raises InputError as `build`.
    """
    from gensr_jax.from_config import open_task

    return open_task(read_settings(Settings(), config), dataset)


def _explain() -> Explainer:
    from gensr_jax.explain import explain_filter
    from gensr_jax.explain_picture import draw_filter
    from gensr_jax.explain_text import format_filter

    return Explainer(explain_filter, format_filter, draw_filter)


def _workload() -> Workload:
    from gensr_jax.workload import WORKLOAD

    return WORKLOAD


STUDIES = {
    name: f"gensr_jax.studies.{name}"
    for name in ("plateau", "query", "conflict", "information", "space")
}
METHOD = Method(Settings(), build, _explain, STUDIES, _workload)
