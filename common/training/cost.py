"""What a training example costs, and how much of a chip's peak a run gets out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax

# Dense bfloat16 FLOP/s from the makers' data sheets, by a part of jax's device_kind.
PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}


class Cost(NamedTuple):
    """The cost of one training example (a list), forward and backward."""

    rows: float  # what the model is run on: pairs of a list and a candidate
    tokens: float
    flop: float  # operations that the formulas ask for, counted by hand


def measure_cost(cost: Cost | None, examples_per_second: float) -> Mapping[str, float]:
    """Rates for the logbook: rows, tokens and FLOP per second; `mfu` where the peak is known.

    mfu: share of the bfloat16 peak of all devices together, recomputation not counted
    """
    if cost is None:
        return {}
    rates = {
        f"{name}_per_second": value * examples_per_second for name, value in cost._asdict().items()
    }
    kind = jax.devices()[0].device_kind
    peak = next((peak for name, peak in PEAKS.items() if name in kind), None)
    if peak is not None:
        rates["mfu"] = rates["flop_per_second"] / (peak * jax.device_count())
    return rates
