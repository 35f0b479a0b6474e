"""LCR, latent cross reasoning: a reconstruction from the abstract of arXiv 2508.04152."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from common.runs.methods import Explainer, Method
from common.settings.reading import read_settings
from lcr_jax.settings import Settings

if TYPE_CHECKING:
    from common.data.dataset import Dataset
    from common.runs.workload import Workload
    from common.training.task import Task

__all__ = ["METHOD", "build"]


def build(config: Any, dataset: Dataset, read_step: int = -1) -> Task:
    """The LCR task of a configuration or `lcr_jax.settings.Settings` on a dataset.

    read_step: for studies of a trained model, the step k in 0..K whose state is scored; -1 = K
    Raises InputError naming the config key that cannot be.
    """
    # Imported here: reading a config file must not start jax.
    from lcr_jax.from_config import build_task

    return build_task(read_settings(Settings(), config), dataset, read_step)


def _explain() -> Explainer:
    from lcr_jax.explain import explain_evidence
    from lcr_jax.explain_picture import draw_evidence
    from lcr_jax.explain_text import format_explanation

    return Explainer(explain_evidence, format_explanation, draw_evidence)


def _workload() -> Workload:
    from lcr_jax.workload import WORKLOAD

    return WORKLOAD


STUDIES = {name: f"lcr_jax.studies.{name}" for name in ("noise", "masking", "steps", "swap")}
METHOD = Method(Settings(), build, _explain, STUDIES, _workload)
