"""Speed of LCR's training steps on random data.

    python -m launch.bench lcr [--batch=1112] [--history=30] [--items=20000] [--out=FILE.json]

The literal configuration (d = 64, K = 3, one positive and four negatives, dot_mlp). Times the
supervised step and the step of stage 2 (`reinforce`; --noreinforce leaves it out) in turns. Prints
medians of the timed blocks with their smallest and largest, after a block of warm-up; compiling is
told apart. Operations are counted twice, never mixed: by hand, the matrix products that the
formulas ask for (three times the forward pass), and by XLA, all that the compiled program does.
The peak is that of a plain matrix product in the same run. --out writes the same figures as JSON.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from common.errors import InputError
from launch.command import parse_flags

if TYPE_CHECKING:
    from common.data.view import View
    from common.training.task import Batch, Stage

_LEAST_BLOCKS = 5
_PEAK_SIZE = 2048  # of the square matrices that the peak is measured by


def run(argv: Sequence[str]) -> None:
    """Measures, prints, and writes --out. Raises InputError for bad flags."""
    values = flags.FlagValues()
    for name, default, least, meaning in (
        ("batch", 1112, 2, "rows of a batch"),
        ("history", 30, 1, "rec events, and searches, of a history"),
        ("items", 20_000, 2, "items of the catalogue"),
        ("queries", 5_000, 1, "distinct queries"),
        ("width", 64, 2, "width of the model, even"),
        ("reasoning", 3, 1, "reasoning steps K"),
        ("blocks", 7, _LEAST_BLOCKS, "timed blocks of each step"),
        ("steps", 3, 1, "steps of a block"),
    ):
        flags.DEFINE_integer(name, default, meaning, lower_bound=least, flag_values=values)
    flags.DEFINE_bool("reinforce", True, "measure the step of stage 2 too", flag_values=values)
    flags.DEFINE_string("out", None, "JSON file for the figures", flag_values=values)
    parse_flags(values, argv, str(__doc__))
    if values.out is not None and not Path(values.out).absolute().parent.is_dir():
        raise InputError(f"--out={values.out}: no such folder; make it first")
    report = _measure(values)
    _print_report(report)
    if values.out is not None:
        from launch.files import write_beside

        write_beside(Path(values.out), json.dumps(report, indent=1) + "\n")


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
        step: Any = make_step(stage, updater, mesh)  # a jitted function, so it can be lowered
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
            "ms_per_step": _summarize(self.milliseconds),
            "rows_per_second": 1e3 * rows / median,
            "compile_seconds": self.compile_seconds,
            "compiled_flop_per_step": compiled,
            "compiled_flop_per_second": 1e3 * compiled / median,
            "compiled_share_of_peak": 1e3 * compiled / median / peak,
            "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
        }


def _measure(values: flags.FlagValues) -> dict[str, Any]:
    import jax
    import numpy as np

    from common.training.mesh import make_mesh, put_batch
    from common.training.step import init_params, place_key
    from launch.bench_inputs import draw_batch, draw_dataset
    from lcr_jax import build
    from lcr_jax.configs import base

    config = base.get_config()
    config.data.rec_length = config.data.search_length = values.history
    config.model.width = values.width
    config.reasoner.steps = values.reasoning
    config.train.batch_size = values.batch
    config.second.kind = "reinforce" if values.reinforce else "none"
    rng = np.random.default_rng(0)
    dataset = draw_dataset(rng, values.items, values.queries)
    task = build(config, dataset)
    stages = task.stages
    batch = draw_batch(rng, dataset, stages[-1].view, values.batch)
    mesh = make_mesh(jax.devices()[:1])

    def fit(view: View) -> Batch:
        return put_batch(mesh, batch | {"negatives": batch["negatives"][:, : view.negatives]})

    params, constants = init_params(task, place_key(0, "init", mesh), fit(stages[0].view), mesh)
    runners = {
        stage.name: Runner(stage, params, constants, fit(stage.view), mesh) for stage in stages
    }
    peaks = _measure_peaks(values.blocks)
    for block in range(values.blocks + 1):
        for runner in runners.values():  # in turns: what else the machine does meets all alike
            runner.run_block(values.steps)
            if block == 0:
                runner.milliseconds.clear()
    peak = peaks["float32"]["median"]
    report = {
        "config": config.to_dict(),
        "rows": values.batch,
        "padded_length": {"rec": values.history, "search": values.history},
        "mean_length": {
            "rec": float(batch["rec_mask"].sum(axis=1).mean()),
            "search": float(batch["search_mask"].sum(axis=1).mean()),
        },
        "items": values.items,
        "queries": values.queries,
        "parameters": sum(array.size for array in jax.tree.leaves(params)),
        "parameter_dtype": "float32",
        "compute_dtype": "float32",
        "blocks": values.blocks,
        "steps_per_block": values.steps,
        **_describe_software(),
        "peak_flop_per_second": peaks,
        "steps": {name: runner.describe(values.batch, peak) for name, runner in runners.items()},
        "peak_memory": _measure_memory(),
    }
    first = report["steps"]["supervised"]
    count = count_forward(config, values.batch, values.items, values.queries)
    first["analytic_flop_per_row"] = 3 * count
    first["analytic_flop_per_second"] = 3 * count * first["rows_per_second"]
    first["analytic_share_of_peak"] = first["analytic_flop_per_second"] / peak
    if "reinforce" in runners:
        report["reinforce_over_supervised"] = _summarize(
            [
                second / first
                for first, second in zip(
                    runners["supervised"].milliseconds,
                    runners["reinforce"].milliseconds,
                    strict=True,
                )
            ]
        )
    return report


def count_forward(config: Any, rows: int, items: int, queries: int) -> float:
    """Operations of a row's forward pass in the supervised step: matrix products only.

    Two for each multiplication with its addition. Padding counts as done: the program does it.
    For encoder=merged, scorer=dot_mlp, recommendation=bce and no option on, as the base has it.
    """
    d, k, candidates = config.model.width, config.reasoner.steps, 1 + config.train.negatives
    m, n = config.data.rec_length, config.data.search_length + 1  # with the null event
    pairs = min(config.loss.alignment_pairs, n - 1)
    others = config.loss.alignment_negatives
    asked = rows * (m + (n - 1) * config.data.clicks)
    mapped_items = items + 1 if items + 1 <= asked else asked + rows * (candidates + 1 + pairs)
    mapped_queries = queries + 1 if queries + 1 <= asked else rows * (n - 1 + pairs)
    products = {
        "item vectors": mapped_items * 2 * d * d / rows,
        "query vectors": mapped_queries * d * d / rows,
        "encoder": config.model.layers * (12 * (m + n) * d * d + 2 * (m + n) ** 2 * d),
        "intent": 3 * d * d,
        "search memory": 2 * n * d * d,
        "reasoning": sum(14 * d * d + 2 * j * (d * d + d) + 2 * n * d for j in range(1, k + 1)),
        "target attention": candidates * (2 * d * d + 2 * (m + n) * d),
        "scorer": 200 * d + candidates * (3 * 200 * d + 200 * 80 + 80 + d),
        "contrastive": (k + 1) * d * d + k * rows * d,
        "alignment": pairs * (d * d + 2 * others * d) + others * d * d / rows,
    }
    return 2.0 * sum(products.values())


def _measure_peaks(blocks: int) -> dict[str, Any]:
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
        peaks[dtype] = _summarize(rates)
    return peaks


def _describe_software() -> dict[str, Any]:
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


def _measure_memory() -> dict[str, int | None]:
    """Highest use so far, in bytes; None where the platform does not tell."""
    import jax

    stats = jax.devices()[0].memory_stats() or {}
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "device": stats.get("peak_bytes_in_use"),
        "host": unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def _summarize(values: Sequence[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _print_report(report: dict[str, Any]) -> None:
    mean, padded = report["mean_length"], report["padded_length"]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    print(f"device: {report['device']['kind']} ({report['device']['platform']}); {versions}")
    print(
        f"data: random, {report['items']:,} items, {report['queries']:,} queries, batch "
        f"{report['rows']:,}, history {mean['rec']:.1f} + {mean['search']:.1f} real, "
        f"{padded['rec']} + {padded['search']} padded"
    )
    print(f"model: {report['parameters']:,} parameters, {report['compute_dtype']}")
    for dtype, rate in report["peak_flop_per_second"].items():
        print(f"peak: {rate['median'] / 1e9:,.0f} GFLOP/s, {dtype} matrix product")
    for name, step in report["steps"].items():
        time_ms = step["ms_per_step"]
        print(
            f"{name}: {step['rows_per_second']:,.0f} rows/s, {time_ms['median']:,.1f} ms/step "
            f"(min {time_ms['min']:,.1f}, max {time_ms['max']:,.1f}; {report['blocks']} blocks of "
            f"{report['steps_per_block']} steps), compiled in {step['compile_seconds']:.1f} s"
        )
        for kind, flop in (
            ("analytic", report["rows"] * step.get("analytic_flop_per_row", 0.0)),
            ("compiled", step["compiled_flop_per_step"]),
        ):
            if flop:
                print(
                    f"  {kind}: {flop / 1e9:,.2f} GFLOP/step, "
                    f"{step[f'{kind}_flop_per_second'] / 1e9:,.1f} GFLOP/s, "
                    f"{step[f'{kind}_share_of_peak']:.1%} of peak"
                )
    if "reinforce_over_supervised" in report:
        ratio = report["reinforce_over_supervised"]
        print(
            f"reinforce / supervised: {ratio['median']:.2f} times the step time "
            f"(min {ratio['min']:.2f}, max {ratio['max']:.2f})"
        )
    memory = report["peak_memory"]
    parts = [f"{name} {size / 1e9:.2f} GB" for name, size in memory.items() if size]
    print(f"peak memory: {', '.join(parts)}")
