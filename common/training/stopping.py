"""What one evaluation means for a stage: best so far, a lower learning rate, or the end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from common.errors import InputError
from common.training.divergence import TrainingDiverged
from common.training.state import Progress
from common.training.task import Stopping


def pick_metric(values: Mapping[str, float], stopping: Stopping, progress: Progress) -> float:
    """The value a stage is judged by.

    Raises InputError when `validate` does not give that metric, TrainingDiverged when its value is
    not finite.
    """
    if stopping.metric not in values:
        raise InputError(
            f"stage {progress.stage_name}, stopping.metric = {stopping.metric!r}: validation has "
            f"no such metric; use one of {', '.join(sorted(values))}"
        )
    value = float(values[stopping.metric])
    if not math.isfinite(value):
        raise TrainingDiverged(
            f"stage {progress.stage_name}, step {progress.global_step}: {stopping.metric} is "
            f"{value}; check the validation rows, or lower optimizer.learning_rate"
        )
    return value


def judge(progress: Progress, stopping: Stopping, value: float) -> Progress:
    """Books an evaluation at `progress.step`: best, patience, plateau.

    value: of the stopping metric; a gain is a value above the best so far, not equal to it
    """
    progress = replace(progress, evaluated_step=progress.step)
    if progress.best_value is None or value > progress.best_value:
        return replace(
            progress,
            best_value=value,
            best_step=progress.global_step,
            former_best_value=progress.best_value,
            former_best_step=progress.best_step,
            bad_evaluations=0,
            bad_since_drop=0,
        )
    bad, since_drop = progress.bad_evaluations + 1, progress.bad_since_drop + 1
    scale = progress.rate_scale
    if stopping.plateau_patience and since_drop >= stopping.plateau_patience:
        scale, since_drop = scale * stopping.plateau_factor, 0
    return replace(
        progress,
        bad_evaluations=bad,
        bad_since_drop=since_drop,
        rate_scale=scale,
        stopped=bool(stopping.patience) and bad >= stopping.patience,
    )
