"""Stopping a run whose numbers are no longer finite."""

from __future__ import annotations

import math
from collections.abc import Mapping

# In the order in which a fault spreads: the loss first, the parameters last.
WATCHED = ("loss", "grad_norm", "update_norm", "param_norm")


class TrainingDiverged(FloatingPointError):
    """A loss, a norm or the stopping metric is not finite; the message names it and the step."""


def check_finite(values: Mapping[str, float], stage: str, step: int) -> None:
    """Raises TrainingDiverged when a watched value of a step is infinite or not a number.

    values: a step's metrics; the step is named by its number over the whole run, from 1
    """
    bad = [name for name in WATCHED if not math.isfinite(values[name])]
    if not bad:
        return
    parts = [n for n in sorted(values) if n not in WATCHED and not math.isfinite(values[n])]
    also = f" (so are {', '.join(bad[1:] + parts)})" if bad[1:] + parts else ""
    raise TrainingDiverged(
        f"stage {stage}, step {step}: {bad[0]} is {values[bad[0]]}{also}; what is saved is from "
        "before it; lower the stage's learning_rate, or set its clip_norm"
    )
