"""Compiled programs and their timed calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from common.precision import exact_products
from common.runs.workload import SCORE, Work
from common.training.mesh import make_mesh, put_batch
from common.training.optimizers import make_updater
from common.training.step import (
    init_params,
    init_state,
    make_step,
    place_key,
    prepare_constants,
)
from common.training.task import Batch, Constants, Params, Stage
from launch.bench.summaries import summarize
from launch.bench.turns import take_turn

# Width of the square matrices that the peak is measured by: enough to fill the device. An H100
# does 264 TFLOP/s in bfloat16 at a width of 2,048 and about 790 at 8,192.
_PEAK_WIDTH = 8192
_PEAK_WIDTH_CPU = 2048
_PEAK_REPEATS = 4


class Timed(Protocol):
    """What can be timed in turns with others."""

    milliseconds: list[float]  # of a step, one number for each block

    def run_block(self, steps: int) -> Any: ...


class Program:
    """A jitted function, compiled for its arguments, and its timed calls.

    carries: it is a step: what it returns first takes the place of its first argument
    """

    def __init__(self, function: Any, *arguments: Any, carries: bool = False) -> None:
        start = time.perf_counter()
        self._run = function.lower(*arguments).compile()
        self.compile_seconds = time.perf_counter() - start
        self.arguments, self._carries = arguments, carries
        self.milliseconds: list[float] = []

    @property
    def temporary_bytes(self) -> int:
        """What it takes beside arguments and results; 0 where the platform does not tell."""
        return int(getattr(self._run.memory_analysis(), "temp_size_in_bytes", 0))

    def run_block(self, steps: int) -> Any:
        """Calls and times, waiting once, at the end. Returns what the last call has returned.

        Raises FloatingPointError where the loss of a step is not finite.
        """
        start = time.perf_counter()
        for _ in range(steps):
            result = self._run(*self.arguments)
            if self._carries:
                state, result = result
                self.arguments = (state, *self.arguments[1:])
        jax.block_until_ready(result)
        self.milliseconds.append(1e3 * (time.perf_counter() - start) / steps)
        if self._carries and not result["loss"] < float("inf"):
            raise FloatingPointError("the loss of random data is not finite")
        return result

    def describe(self, rows: int, peak: float, flop: float | None = None) -> dict[str, Any]:
        """Figures of compiling and of the blocks so far.

        rows: of a call; peak: FLOP/s; flop: operations of a row, counted by hand; None = not
        counted. Of a step also what XLA counts, which takes the body of a loop once.
        """
        seconds = statistics.median(self.milliseconds) / 1e3
        figures = {
            "ms_per_step": summarize(self.milliseconds),
            "rows_per_second": rows / seconds,
            "compile_seconds": self.compile_seconds,
            "temporary_bytes": self.temporary_bytes,
        }
        counted: dict[str, float] = {}
        if flop is not None:
            figures["analytic_flop_per_row"] = flop
            counted["analytic"] = rows * flop
        if self._carries:
            costs = self._run.cost_analysis()
            costs = costs[0] if isinstance(costs, list) else costs or {}
            counted["compiled"] = float(costs.get("flops", 0.0))
        for kind, count in counted.items():
            figures |= {
                f"{kind}_flop_per_step": count,
                f"{kind}_flop_per_second": count / seconds,
                f"{kind}_share_of_peak": count / seconds / peak,
            }
        return figures


class Calls:
    """A function that is not JAX's, and its timed calls.

    wait: returns when the device has done all that it was given
    """

    def __init__(self, function: Callable[[], None], wait: Callable[[], None]) -> None:
        self._function, self._wait = function, wait
        self.milliseconds: list[float] = []
        self.run_block(1)
        self.first_seconds = self.milliseconds.pop() / 1e3  # with what it compiles

    def run_block(self, steps: int) -> None:
        self._wait()
        start = time.perf_counter()
        for _ in range(steps):
            self._function()
        self._wait()
        self.milliseconds.append(1e3 * (time.perf_counter() - start) / steps)


def compile_step(
    stage: Stage,
    params: Params,
    constants: Constants,
    batch: Batch,
    mesh: Mesh,
    many: int = 1,
    parts: int = 1,
) -> Program:
    """The step of a stage, as the trainer has it.

    params: copied, so that several programs may begin with the same ones
    batch:  with `many` above 1 as many batches in one; many, parts: as of `make_step`
    """
    updater = make_updater(stage, params, 1000)
    state = init_state(jax.tree.map(jnp.copy, params), updater, mesh, stage.keeps_start)
    rest = (constants, batch, place_key(0, stage.name, mesh), jnp.float32(1.0))
    step = make_step(stage, updater, mesh, state, many, parts)
    return Program(step, state, *rest, carries=True)


def compile_work(work: Work) -> tuple[Params, dict[str, Program], float]:
    """Random parameters, and the programs by the name of their load: steps in order, then scoring.

    On one device. Last the seconds that the parameters took, tracing and compiling with them.
    """
    task, mesh = work.task, make_mesh(jax.devices()[:1])
    batches = {name: put_batch(mesh, load.batch) for name, load in work.loads.items()}
    first, *_ = batches.values()
    key, start = place_key(0, "init", mesh), time.perf_counter()
    params, constants = jax.block_until_ready(init_params(task, key, first, mesh))
    init_seconds, programs = time.perf_counter() - start, {}
    for stage in task.stages:
        own = prepare_constants(stage, params, constants, mesh)
        if batch := batches.get(stage.name):
            programs[stage.name] = compile_step(stage, params, own, batch, mesh)
    if batch := batches.get(SCORE):  # with the constants of the last stage, as evaluation scores
        programs[SCORE] = Program(jax.jit(exact_products()(task.score)), params, own, batch)
    return params, programs, init_seconds


def time_in_turns(timed: Mapping[str, Timed], blocks: int, steps: int) -> None:
    """Fills `milliseconds` of each with `blocks` blocks, after one of warm-up.

    In turns: what else the machine does meets all alike. Alone on the device, see `take_turn`.
    """
    take_turn()
    for block in range(blocks + 1):
        for each in timed.values():
            each.run_block(steps)
            if block == 0:
                each.milliseconds.clear()


class Peaks(NamedTuple):
    """How fast a plain product of square matrices is, by the kind of its numbers."""

    width: int  # of the matrices
    flops: dict[str, dict[str, float]]  # kind -> FLOP/s, as from `summarize`

    def of(self, kind: str) -> float:
        """The median of a kind; of float32 where it was not measured apart."""
        return self.flops.get(kind, self.flops["float32"])["median"]

    def report(self) -> dict[str, Any]:
        """What a report says of them."""
        return {"peak_width": self.width, "peak_flop_per_second": self.flops}


def measure_peaks(blocks: int) -> Peaks:
    """Measures the peaks, alone on the device.

    float32          as the steps multiply: with JAX's default precision, which is tf32 on NVIDIA's
                     cards since 2020, one pass of bfloat16 on a TPU, and float32 on a CPU
    float32_highest  as evaluation multiplies: all bits of float32; on an accelerator
    bfloat16         on an accelerator
    """
    take_turn()
    on_cpu = jax.default_backend() == "cpu"
    width = _PEAK_WIDTH_CPU if on_cpu else _PEAK_WIDTH
    kinds: dict[str, tuple[str, str | None]] = {"float32": ("float32", None)}
    if not on_cpu:
        kinds |= {"float32_highest": ("float32", "highest"), "bfloat16": ("bfloat16", None)}
    flops = {}
    for kind, (dtype, precision) in kinds.items():
        left, right = jax.random.normal(jax.random.key(0), (2, width, width), dtype)
        multiply = jax.jit(partial(jnp.matmul, precision=precision))
        multiply(left, right).block_until_ready()
        rates = []
        for _ in range(blocks):
            start = time.perf_counter()
            for _ in range(_PEAK_REPEATS):
                product = multiply(left, right)
            product.block_until_ready()
            rates.append(_PEAK_REPEATS * 2 * width**3 / (time.perf_counter() - start))
        flops[kind] = summarize(rates)
    return Peaks(width, flops)
