"""Softmax losses over a catalogue: plain, fused in blocks, and sampled.

    python -m launch.bench losses [--items=100000] [--rows=512] [--width=64] [--out=FILE.json]

Times value and gradients (of the users' states and of the item table) in turns, on random data;
--items may be given several times. "plain" makes all scores, "fused" a block of rows at a time,
"sampled" those of --negatives negatives with logQ correction. The plain one is left out where it
would take more than --plain_gigabytes. Memory is what a program takes beside its arguments and the
gradients. Operations are those of the matrix products: scores, and both gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags

from launch.bench_steps import (
    Program,
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

# Of `launch.bench --all`: an eighth of the batch of 4,096 that the memory is bounded for
SMALL = ("--items=100000", "--items=1000000", "--rows=512", "--blocks=5")
_LEAST_BLOCKS = 5


def run(argv: Sequence[str]) -> None:
    """Measures, prints, and writes --out. Raises InputError for bad flags."""
    values = flags.FlagValues()
    flags.DEFINE_multi_integer(
        "items", [100_000], "items of a catalogue", lower_bound=2, flag_values=values
    )
    define_counts(values, (
        ("rows", 512, 1, "rows of a batch"),
        ("width", 64, 1, "width of states and items"),
        ("negatives", 255, 1, "sampled negatives of a row"),
        ("plain_gigabytes", 3, 0, "memory that the plain loss may take, GB; 0 = leave it out"),
        ("blocks", 5, _LEAST_BLOCKS, "timed blocks of each"),
        ("steps", 1, 1, "steps of a block"),
    ))  # fmt: skip
    parse_flags(values, argv, str(__doc__))
    run_bench(lambda: _measure(values), _print_report, values.out)


def _measure(values: flags.FlagValues) -> dict[str, Any]:
    peaks = measure_peaks(values.blocks)
    sizes = [_measure_size(values, items, peaks["float32"]["median"]) for items in values.items]
    summary: dict[str, float] = {}
    for size in sizes:
        of = f"at {size['items']:,} items"
        if "plain" in size["losses"]:
            summary[f"fused / plain, time {of}"] = size["time_over_plain"]["fused"]["median"]
        for name, loss in size["losses"].items():
            summary[f"{name} ms {of}"] = loss["ms_per_step"]["median"]
            summary[f"{name} extra GB {of}"] = loss["temporary_bytes"] / 1e9
    return {
        "rows": values.rows,
        "width": values.width,
        "negatives": values.negatives,
        "compute_dtype": "float32",
        "blocks": values.blocks,
        "steps_per_block": values.steps,
        **describe_software(),
        "peak_flop_per_second": peaks,
        "sizes": sizes,
        "peak_memory": measure_memory(),
        "summary": summary,
    }


def _measure_size(values: flags.FlagValues, items: int, peak: float) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from common.nn import losses
    from launch.bench_inputs import draw_items

    rng = np.random.default_rng(0)
    rows, width = values.rows, values.width
    states = jnp.asarray(rng.standard_normal((rows, width), np.float32))
    table = jnp.asarray(rng.standard_normal((items + 1, width), np.float32) / width**0.5)
    target = jnp.asarray(draw_items(rng, items, (rows,)))
    candidates = jnp.asarray(draw_items(rng, items, (rows, 1 + values.negatives)))
    candidates = candidates.at[:, 0].set(target)
    share = np.sqrt(np.arange(items + 1)) - np.sqrt(np.maximum(np.arange(items + 1) - 1, 0))
    share[0] = 1.0  # the padding item is never drawn
    log_share = jnp.asarray(np.log(share / items**0.5), jnp.float32)[candidates]
    valid = jnp.ones(rows, jnp.uint8)

    def plain(states: jax.Array, table: jax.Array) -> jax.Array:
        return losses.catalogue_softmax(states @ table.T, target, valid)

    def fused(states: jax.Array, table: jax.Array) -> jax.Array:
        return losses.fused_softmax(states, table, target, valid)

    def sampled(states: jax.Array, table: jax.Array) -> jax.Array:
        scores = jnp.einsum("bd,bcd->bc", states, table[candidates])
        return losses.sampled_softmax(scores, log_share, valid)

    programs = {
        loss.__name__: Program(jax.value_and_grad(loss, (0, 1)), states, table)
        for loss in (plain, fused, sampled)
    }
    needed = programs["plain"].temporary_bytes
    if needed > 1e9 * values.plain_gigabytes:
        del programs["plain"]
    time_in_turns(programs, values.blocks, values.steps)
    scored = {"plain": items, "fused": items, "sampled": 1 + values.negatives}
    return {
        "items": items,
        "plain_temporary_bytes": needed,
        "losses": {
            name: program.describe()
            | describe_work(program.milliseconds, rows, 6 * rows * scored[name] * width, peak)
            for name, program in programs.items()
        },
        "time_over_plain": {
            name: divide_blocks(program, programs["plain"])
            for name, program in programs.items()
            if "plain" in programs and name != "plain"
        },
    }


def _print_report(report: dict[str, Any]) -> None:
    print_setting(report)
    for size in report["sizes"]:
        print(
            f"{size['items']:,} items, {report['rows']:,} rows, width {report['width']}, "
            f"{report['negatives']} sampled negatives, {report['compute_dtype']}"
        )
        for name, loss in size["losses"].items():
            print_step(name, loss, report, loss["analytic_flop_per_step"])
            print(f"  {loss['temporary_bytes'] / 1e6:,.1f} MB beside arguments and gradients")
        if "plain" not in size["losses"]:
            needed = size["plain_temporary_bytes"] / 1e9
            print(f"plain: left out, it would take {needed:.1f} GB; --plain_gigabytes allows more")
        for name, ratio in size["time_over_plain"].items():
            print(
                f"{name} / plain: {ratio['median']:.3f} times the time "
                f"(min {ratio['min']:.3f}, max {ratio['max']:.3f})"
            )
    print_memory(report)
