"""Figures of several blocks, and how they are printed."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any


def summarize(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def divide_blocks(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Numbers of one thing over those of another, block by block."""
    return summarize([one / other for one, other in zip(over, under, strict=True)])


def say_spread(figure: Mapping[str, float], form: str) -> str:
    """ "(min 0.91, max 1.02)" of what `summarize` gives. form: as ",.1f"."""
    return f"(min {figure['min']:{form}}, max {figure['max']:{form}})"


def print_step(name: str, step: Mapping[str, Any], report: Mapping[str, Any]) -> None:
    """The lines of one program: speed, operations, and the share of the peak.

    step: as `Program.describe` gives it
    """
    time_ms = step["ms_per_step"]
    print(
        f"{name}: {step['rows_per_second']:,.0f} rows/s, {time_ms['median']:,.1f} ms/step "
        f"(min {time_ms['min']:,.1f}, max {time_ms['max']:,.1f}; {report['blocks']} blocks of "
        f"{report['steps_per_block']} steps), compiled in {step['compile_seconds']:.1f} s"
    )
    for kind in ("analytic", "compiled"):
        if flop := step.get(f"{kind}_flop_per_step"):
            print(
                f"  {kind}: {flop / 1e9:,.2f} GFLOP/step, "
                f"{step[f'{kind}_flop_per_second'] / 1e9:,.1f} GFLOP/s, "
                f"{step[f'{kind}_share_of_peak']:.1%} of peak"
            )


def print_kernels(tables: Mapping[str, Any], count: int = 8) -> None:
    """The first lines of tables of kernels, program -> as `read_kernels` gives it."""
    for program, table in tables.items():
        print(
            f"{program}: {table['launches_per_step']:,.0f} kernels a step, "
            f"{table['ms_per_step']:,.2f} ms in them"
        )
        for kernel in table["kernels"][:count]:
            print(
                f"  {1e3 * kernel['ms_per_step']:>10,.1f} us {kernel['calls_per_step']:>7,.1f} x "
                f"{kernel['name'][:80]}"
            )
