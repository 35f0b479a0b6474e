"""Speed of GenSR's tuning step and of its scoring on random data.

    python -m launch.bench gensr [--size=base] [--length=110] [--torch] [--out=FILE.json]

One list is a positive and four negatives; scoring takes lists of 100 candidates. A row is a pair of
a list and a candidate. Prints medians of the timed blocks with their smallest and largest, after a
block of warm-up; compiling is told apart. Operations are counted twice, never mixed: by hand, the
matrix products that the formulas ask for (three times the forward pass), and by XLA. The peak is
that of a plain matrix product in the same run. --torch times the T5 of the PyTorch reference on the
same rows and lengths, block by block in turns: T5 alone, without views and filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags

from launch.bench_steps import (
    Program,
    Runner,
    define_counts,
    describe_software,
    describe_work,
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

# Of `launch.bench --all`
SMALL = ("--size=mini", "--length=24", "--lists=4", "--blocks=5", "--steps=3")
_LEAST_BLOCKS = 3
_SCORED = 100  # candidates of a list when scoring
_ITEMS = 5_000
_QUERIES = 500


def run(argv: Sequence[str]) -> None:
    """Measures, prints, and writes --out. Raises InputError for bad flags."""
    values = flags.FlagValues()
    flags.DEFINE_enum(
        "size", "base", ["mini", "small", "base", "large"], "of T5", flag_values=values
    )
    flags.DEFINE_enum(
        "dtype", None, ["float32", "bfloat16"],
        "of activations; default: float32 on a CPU, else bfloat16", flag_values=values,
    )  # fmt: skip
    define_counts(values, (
        ("lists", 0, 0, "lists of a training batch; 0 = 2 on a CPU, else 40"),
        ("scored_lists", 0, 0, "lists of 100 that are scored at once; 0 = 1 on a CPU, else 16"),
        ("length", 110, 16, "tokens of a prompt"),
        ("blocks", 5, _LEAST_BLOCKS, "timed blocks of each"),
        ("steps", 1, 1, "steps of a block"),
    ))  # fmt: skip
    flags.DEFINE_bool("torch", False, "time the PyTorch reference beside", flag_values=values)
    parse_flags(values, argv, str(__doc__))
    run_bench(lambda: _measure(values), _print_report, values.out)


def _measure(values: flags.FlagValues) -> dict[str, Any]:
    import jax
    import numpy as np

    from common.training.mesh import make_mesh, put_batch
    from common.training.step import init_params, place_key, prepare_constants
    from gensr_jax.cost import BACKWARD, count_forward
    from gensr_jax.parameters import param_report

    on_cpu = jax.default_backend() == "cpu"
    lists = values.lists or (2 if on_cpu else 40)
    scored = values.scored_lists or (1 if on_cpu else 16)
    dtype = values.dtype or ("float32" if on_cpu else "bfloat16")
    rng = np.random.default_rng(0)
    settings, task = make_random_task(rng, values.size, values.length, dtype, lists)
    mesh = make_mesh(jax.devices()[:1])
    batches = [
        put_batch(mesh, draw_lists(rng, rows, negatives))
        for rows, negatives in ((lists, 4), (scored, _SCORED - 1))
    ]
    params, constants = init_params(task, place_key(0, "init", mesh), batches[0], mesh)
    stage = task.stages[-1]
    constants = prepare_constants(stage, params, constants, mesh)
    runners: dict[str, Any] = {
        "tune": Runner(stage, params, constants, batches[0], mesh),
        "score": Program(task.score, params, constants, batches[1]),
    }
    rows = {"tune": 5 * lists, "score": _SCORED * scored}
    if values.torch:
        from launch.bench_torch import TorchT5

        reference = TorchT5(settings.t5, values.length, rows)
        runners |= {"torch tune": reference.tune, "torch score": reference.score}
    peaks = measure_peaks(values.blocks)
    time_in_turns(runners, values.blocks, values.steps)
    peak = peaks.get(dtype, peaks["float32"])["median"]
    flop = {
        "tune": lists * (1 + BACKWARD) * count_forward(settings, values.length, 5),
        "score": scored * count_forward(settings, values.length, _SCORED),
    }
    steps = {
        name: describe_work(runner.milliseconds, rows[name], flop[name], peak)
        for name, runner in runners.items()
        if name in rows
    }
    steps["tune"] |= runners["tune"].describe(rows["tune"], peak)
    steps["score"] |= runners["score"].describe()
    for step in steps.values():
        step["tokens_per_second"] = values.length * step["rows_per_second"]
    counted = param_report(params["model"])
    report = {
        "size": values.size,
        "prompt_length": values.length,
        "rows": rows,
        "parameters": counted.live,
        "parameters_by_part": counted.parts,
        "compute_dtype": dtype,
        "blocks": values.blocks,
        "steps_per_block": values.steps,
        **describe_software(),
        "peak_flop_per_second": peaks,
        "steps": steps,
        "peak_memory": measure_memory(),
        "summary": {f"{name} rows/s": step["rows_per_second"] for name, step in steps.items()},
    }
    if values.torch:
        report["torch"] = reference.describe()
        report["speed_over_torch"] = {
            name: divide_blocks(runners[f"torch {name}"], runners[name]) for name in rows
        }
    return report


def make_random_task(rng: Any, size: str, length: int, dtype: str, lists: int) -> tuple[Any, Any]:
    """Settings and task of a model of that size with random titles, prompts and CF table."""
    from dataclasses import replace

    import numpy as np

    from common.data.view import View
    from gensr_jax.settings import LossSettings, ModelSettings, Train
    from gensr_jax.t5 import SIZES
    from gensr_jax.task import Collaborative, Texts, make_task

    t5 = replace(SIZES[size], dtype=dtype, full_head=False)
    words = min(t5.vocab_size, 32_000)
    settings = ModelSettings(t5=t5, n_items=_ITEMS, yes=3, no=4)
    tok = rng.integers(5, words, (_QUERIES + 1, length), dtype=np.int32)
    slot = np.full(tok.shape, -1, np.int8)
    places = np.linspace(2, length - 4, 4).astype(int)
    slot[:, places] = range(4)
    tok[:, places] = 0
    texts = Texts(
        title_head=rng.integers(5, words, (_ITEMS + 1, settings.title_length), dtype=np.int32),
        title_full=rng.integers(5, words, (_ITEMS + 1, 32), dtype=np.int32),
        prompt_tok=tok,
        prompt_slot=slot,
        prompt_mask=np.ones(tok.shape, np.bool_),
        rec_length=length,
    )
    table = rng.normal(size=(_ITEMS + 1, settings.cf_width)).astype(np.float32)
    train = Train(batch_size=lists, epochs=1, learning_rate=1e-4, clip_norm=1.0)
    view = View(rec_length=20, search_length=20, clicks=1, negatives=4)
    task = make_task(settings, LossSettings(), train, view, texts, Collaborative(given=table))
    return settings, task


def draw_lists(rng: Any, rows: int, negatives: int) -> dict[str, Any]:
    """A batch of lists of both tasks with full histories."""
    import numpy as np

    def items(*shape: int) -> Any:
        return rng.integers(1, _ITEMS + 1, shape, dtype=np.int32)

    task = np.arange(rows) % 2
    return {
        "task": task.astype(np.uint8),
        "valid": np.ones(rows, np.uint8),
        "user": np.arange(1, rows + 1, dtype=np.int32),
        "target": items(rows),
        "query": (task * rng.integers(1, _QUERIES + 1, rows)).astype(np.int32),
        "negatives": items(rows, negatives),
        "rec_item": items(rows, 20),
        "rec_mask": np.ones((rows, 20), np.uint8),
        "search_query": np.zeros((rows, 20), np.int32),
        "search_mask": np.zeros((rows, 20), np.uint8),
        "search_click": np.zeros((rows, 20, 1), np.int32),
        "order": np.tile(np.r_[19:-1:-1, [40] * 20].astype(np.int32), (rows, 1)),
    }


def _print_report(report: dict[str, Any]) -> None:
    print_setting(report)
    print(
        f"model: T5 {report['size']}, {report['parameters']:,} parameters, "
        f"{report['compute_dtype']}, prompts of {report['prompt_length']} tokens"
    )
    print("  " + ", ".join(f"{n} {count:,}" for n, count in report["parameters_by_part"].items()))
    for name, step in report["steps"].items():
        print_step(f"{name} ({report['rows'][name]:,} rows)", step, report,
                   step["analytic_flop_per_step"])  # fmt: skip
        print(f"  {step['tokens_per_second']:,.0f} tokens/s")
    for name, ratio in report.get("speed_over_torch", {}).items():
        print(
            f"{name}: {ratio['median']:.2f} times the speed of {report['torch']} "
            f"(min {ratio['min']:.2f}, max {ratio['max']:.2f})"
        )
    print_memory(report)
