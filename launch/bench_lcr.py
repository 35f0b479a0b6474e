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

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from launch.bench_steps import (
    Runner,
    define_counts,
    describe_software,
    divide_blocks,
    measure_memory,
    measure_peaks,
    print_memory,
    print_setting,
    print_step,
    run_bench,
    time_in_turns,
)
from launch.command import parse_flags

if TYPE_CHECKING:
    from common.data.view import View
    from common.training.task import Batch

SMALL = ("--blocks=5", "--steps=1")  # of `launch.bench --all`
_LEAST_BLOCKS = 5


def run(argv: Sequence[str]) -> None:
    """Measures, prints, and writes --out. Raises InputError for bad flags."""
    values = define_counts(flags.FlagValues(), (
        ("batch", 1112, 2, "rows of a batch"),
        ("history", 30, 1, "rec events, and searches, of a history"),
        ("items", 20_000, 2, "items of the catalogue"),
        ("queries", 5_000, 1, "distinct queries"),
        ("width", 64, 2, "width of the model, even"),
        ("reasoning", 3, 1, "reasoning steps K"),
        ("blocks", 7, _LEAST_BLOCKS, "timed blocks of each step"),
        ("steps", 3, 1, "steps of a block"),
    ))  # fmt: skip
    flags.DEFINE_bool("reinforce", True, "measure the step of stage 2 too", flag_values=values)
    parse_flags(values, argv, str(__doc__))
    run_bench(lambda: _measure(values), _print_report, values.out)


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
    peaks = measure_peaks(values.blocks)
    time_in_turns(runners, values.blocks, values.steps)
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
        **describe_software(),
        "peak_flop_per_second": peaks,
        "steps": {name: runner.describe(values.batch, peak) for name, runner in runners.items()},
        "peak_memory": measure_memory(),
    }
    first = report["steps"]["supervised"]
    count = count_forward(config, values.batch, values.items, values.queries)
    first["analytic_flop_per_row"] = 3 * count
    first["analytic_flop_per_second"] = 3 * count * first["rows_per_second"]
    first["analytic_share_of_peak"] = first["analytic_flop_per_second"] / peak
    if "reinforce" in runners:
        report["reinforce_over_supervised"] = divide_blocks(
            runners["reinforce"], runners["supervised"]
        )
    report["summary"] = {
        f"{name} rows/s": step["rows_per_second"] for name, step in report["steps"].items()
    } | {"supervised share of peak": first["analytic_share_of_peak"]}
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


def _print_report(report: dict[str, Any]) -> None:
    mean, padded = report["mean_length"], report["padded_length"]
    print_setting(report)
    print(
        f"data: random, {report['items']:,} items, {report['queries']:,} queries, batch "
        f"{report['rows']:,}, history {mean['rec']:.1f} + {mean['search']:.1f} real, "
        f"{padded['rec']} + {padded['search']} padded"
    )
    print(f"model: {report['parameters']:,} parameters, {report['compute_dtype']}")
    for name, step in report["steps"].items():
        print_step(name, step, report, report["rows"] * step.get("analytic_flop_per_row", 0.0))
    if "reinforce_over_supervised" in report:
        ratio = report["reinforce_over_supervised"]
        print(
            f"reinforce / supervised: {ratio['median']:.2f} times the step time "
            f"(min {ratio['min']:.2f}, max {ratio['max']:.2f})"
        )
    print_memory(report)
