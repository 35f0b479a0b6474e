"""What the benchmarks share: their flags, timed blocks, the machine's peak, memory, reports."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from common.errors import MEND, InputError, WriteError
from common.files import write_beside

if TYPE_CHECKING:
    from common.training.task import Batch, Stage

_PEAK_SIZE = 2048  # of the square matrices that the peak is measured by


def define_counts(
    values: flags.FlagValues, counts: Sequence[tuple[str, int, int, str]]
) -> flags.FlagValues:
    """Adds flags for whole numbers, (name, default, least, meaning) each, and --out."""
    for name, default, least, meaning in counts:
        flags.DEFINE_integer(name, default, meaning, lower_bound=least, flag_values=values)
    flags.DEFINE_string("out", None, "JSON file for the figures", flag_values=values)
    return values


def run_bench(
    measure: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], None], out: str | None
) -> None:
    """Measures, prints, and writes the figures as JSON where a file is given.

    measure: its report has "summary", {figure with its unit: number}: what `--all` tells of it
    out:     of --out. Raises InputError before measuring where it cannot be written.
    """
    path = check_out(out)
    report = measure()
    show(report)
    if path is not None:
        write_beside(path, json.dumps(report, indent=1) + "\n")


def check_out(out: str | None) -> Path | None:
    """The file of --out, absolute. Raises InputError where there can be none, WriteError."""
    if out is None:
        return None
    path = Path(out).absolute()
    if not path.parent.is_dir():
        raise InputError(f"--out={out}: no such folder; make it first")
    if path.is_dir():
        raise InputError(f"--out={out}: is a folder; give a file in it")
    if not os.access(path.parent, os.W_OK):
        raise WriteError(
            f"--out={out}: cannot be written (no permission, or a read-only disk); {MEND}"
        )
    return path


class Program:
    """A function, compiled for its arguments and called with them."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        import jax

        start = time.perf_counter()
        self._run = jax.jit(function).lower(*arguments).compile()
        self.compile_seconds = time.perf_counter() - start
        self._arguments = arguments
        memory = self._run.memory_analysis()
        # What it takes beside arguments and results; 0 where the platform does not tell.
        self.temporary_bytes = int(getattr(memory, "temp_size_in_bytes", 0))
        self.milliseconds: list[float] = []

    def run_block(self, steps: int) -> None:
        """Calls and times, waiting once, at the end."""
        import jax

        start = time.perf_counter()
        for _ in range(steps):
            result = self._run(*self._arguments)
        jax.block_until_ready(result)
        self.milliseconds.append(1e3 * (time.perf_counter() - start) / steps)

    def describe(self) -> dict[str, Any]:
        """What compiling has told."""
        return {
            "compile_seconds": self.compile_seconds,
            "temporary_bytes": self.temporary_bytes,
        }


class Runner:
    """A stage's step, compiled, with the state that it goes on from."""

    def __init__(self, stage: Stage, params: Any, constants: Any, batch: Batch, mesh: Any) -> None:
        """params: copied, so that several runners may begin with the same ones"""
        import jax
        import jax.numpy as jnp

        from common.training.optimizers import make_updater
        from common.training.step import init_state, make_step, place_key

        updater = make_updater(stage, params, 1000)
        own = jax.tree.map(jnp.copy, params)
        state = init_state(own, updater, mesh, stage.keeps_start)
        rest = (constants, batch, place_key(0, stage.name, mesh), jnp.float32(1.0))
        start = time.perf_counter()
        step: Any = make_step(stage, updater, mesh, state)  # jitted, so it can be lowered
        self._step = step.lower(state, *rest).compile()
        self.compile_seconds = time.perf_counter() - start
        self._state, self._rest = state, rest
        self.milliseconds: list[float] = []

    def run_block(self, steps: int) -> None:
        """Runs and times some steps, waiting once, at the end."""
        import jax

        metrics: dict[str, jax.Array] = {}
        start = time.perf_counter()
        for _ in range(steps):
            self._state, metrics = self._step(self._state, *self._rest)
        jax.block_until_ready(metrics)
        self.milliseconds.append(1e3 * (time.perf_counter() - start) / steps)
        if not metrics["loss"] < float("inf"):
            raise FloatingPointError("the loss of random data is not finite")

    def describe(self, rows: int, peak: float) -> dict[str, Any]:
        """Figures of the blocks so far. peak: FLOP/s"""
        median = statistics.median(self.milliseconds)
        costs = self._step.cost_analysis()
        costs = costs[0] if isinstance(costs, list) else costs or {}
        memory = self._step.memory_analysis()
        compiled = float(costs.get("flops", 0.0))
        return {
            "ms_per_step": summarize(self.milliseconds),
            "rows_per_second": 1e3 * rows / median,
            "compile_seconds": self.compile_seconds,
            "compiled_flop_per_step": compiled,
            "compiled_flop_per_second": 1e3 * compiled / median,
            "compiled_share_of_peak": 1e3 * compiled / median / peak,
            "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
        }


def time_in_turns(runners: Mapping[str, Any], blocks: int, steps: int) -> None:
    """Fills the `milliseconds` of each runner with `blocks` blocks, after one of warm-up.

    In turns: what else the machine does meets all alike.
    """
    for block in range(blocks + 1):
        for runner in runners.values():
            runner.run_block(steps)
            if block == 0:
                runner.milliseconds.clear()


def divide_blocks(slow: Any, fast: Any) -> dict[str, float]:
    """Times of one runner over those of another, block by block."""
    pairs = zip(slow.milliseconds, fast.milliseconds, strict=True)
    return summarize([one / other for one, other in pairs])


def describe_work(
    milliseconds: Sequence[float], rows: int, flop: float, peak: float
) -> dict[str, Any]:
    """Figures of timed steps. flop: operations of one, counted by hand; peak: FLOP/s"""
    seconds = statistics.median(milliseconds) / 1e3
    return {
        "ms_per_step": summarize(milliseconds),
        "rows_per_second": rows / seconds,
        "analytic_flop_per_step": flop,
        "analytic_flop_per_second": flop / seconds,
        "analytic_share_of_peak": flop / seconds / peak,
    }


def measure_peaks(blocks: int) -> dict[str, Any]:
    """FLOP/s of a square matrix product: float32, on an accelerator bfloat16 too."""
    import jax
    import jax.numpy as jnp

    dtypes = ["float32"] + (["bfloat16"] if jax.default_backend() != "cpu" else [])
    peaks = {}
    for dtype in dtypes:
        left, right = jax.random.normal(jax.random.key(0), (2, _PEAK_SIZE, _PEAK_SIZE), dtype)
        multiply: Callable[..., jax.Array] = jax.jit(jnp.matmul)
        multiply(left, right).block_until_ready()
        rates = []
        for _ in range(blocks):
            start = time.perf_counter()
            for _ in range(4):
                product = multiply(left, right)
            product.block_until_ready()
            rates.append(4 * 2 * _PEAK_SIZE**3 / (time.perf_counter() - start))
        peaks[dtype] = summarize(rates)
    return peaks


def describe_software() -> dict[str, Any]:
    import flax
    import jax
    import jaxlib
    import numpy as np

    device = jax.devices()[0]
    modules = (jax, jaxlib, flax, np)
    return {
        "device": {"platform": device.platform, "kind": device.device_kind},
        "versions": {module.__name__: module.__version__ for module in modules},
    }


def measure_memory() -> dict[str, int | None]:
    """Highest use so far, in bytes; None where the platform does not tell."""
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "device": stats.get("peak_bytes_in_use"),
        "host": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def summarize(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def print_step(
    name: str, step: dict[str, Any], report: dict[str, Any], analytic: float | None
) -> None:
    """The lines of one step. analytic: operations per step, counted by hand"""
    time_ms = step["ms_per_step"]
    print(
        f"{name}: {step['rows_per_second']:,.0f} rows/s, {time_ms['median']:,.1f} ms/step "
        f"(min {time_ms['min']:,.1f}, max {time_ms['max']:,.1f}; {report['blocks']} blocks of "
        f"{report['steps_per_block']} steps)"
        + (f", compiled in {step['compile_seconds']:.1f} s" if "compile_seconds" in step else "")
    )
    for kind, flop in (("analytic", analytic), ("compiled", step.get("compiled_flop_per_step"))):
        if flop:
            print(
                f"  {kind}: {flop / 1e9:,.2f} GFLOP/step, "
                f"{step[f'{kind}_flop_per_second'] / 1e9:,.1f} GFLOP/s, "
                f"{step[f'{kind}_share_of_peak']:.1%} of peak"
            )


def print_setting(report: dict[str, Any]) -> None:
    """Device, versions and the measured peak."""
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    print(f"device: {report['device']['kind']} ({report['device']['platform']}); {versions}")
    for dtype, rate in report["peak_flop_per_second"].items():
        print(f"peak: {rate['median'] / 1e9:,.0f} GFLOP/s, {dtype} matrix product")


def print_memory(report: dict[str, Any]) -> None:
    """The highest use of memory."""
    memory = report["peak_memory"]
    parts = [f"{name} {size / 1e9:.2f} GB" for name, size in memory.items() if size]
    print(f"peak memory: {', '.join(parts)}")
