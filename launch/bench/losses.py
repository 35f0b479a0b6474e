"""Softmax losses over a catalogue: plain, fused in blocks, and sampled.

    python -m launch.bench losses [--items=100000] [--rows=512] [--width=64] [--out=FILE.json]

Times value and gradients (of the users' states and of the item table) in turns, on random data;
--items may be given several times. "plain" makes all scores, "fused" a block of rows at a time,
"sampled" those of --negatives negatives with logQ correction. The plain one is left out where it
would take more than the device has free, on a CPU more than 3 GB. Memory is what a program takes
beside its arguments and the gradients. Operations are those of the matrix products: scores, and
both gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from common.settings.fields import setting
from launch.bench.machine import find_room
from launch.bench.subjects import Report, Subject
from launch.bench.summaries import divide_blocks, print_kernels, print_step, say_spread

_PLAIN_BYTES_CPU = 3e9  # a CPU does not tell what is free


@dataclass(frozen=True)
class Flags:
    """Sizes, and how much is timed."""

    items: tuple[int, ...] = setting((100_000,), "items of a catalogue", least=2)
    rows: int = setting(512, "rows of a batch", least=1)
    width: int = setting(64, "width of states and items", least=1)
    negatives: int = setting(255, "sampled negatives of a row", least=1)
    plain_gigabytes: int = setting(
        -1, "memory that the plain loss may take, GB; 0 = leave it out, -1 = what is free", least=-1
    )
    blocks: int = setting(5, "timed blocks of each", least=5)
    steps: int = setting(1, "steps of a block", least=1)
    kernels: bool = setting(False, "list the kernels of each, where the platform tells them")


def measure(flags: Flags) -> Report:
    """Times the losses on a catalogue of each size."""
    from launch.bench.programs import measure_peaks

    peaks = measure_peaks(flags.blocks)
    sizes = [_measure_size(flags, items, peaks.of("float32")) for items in flags.items]
    summary: dict[str, float] = {}
    for size in sizes:
        of = f"at {size['items']:,} items"
        if "plain" in size["losses"]:
            summary[f"fused / plain, time {of}"] = size["time_over_plain"]["fused"]["median"]
        for name, loss in size["losses"].items():
            summary[f"{name} ms {of}"] = loss["ms_per_step"]["median"]
            summary[f"{name} extra GB {of}"] = loss["temporary_bytes"] / 1e9
    return {
        "compute_dtype": "float32",
        "steps_per_block": flags.steps,
        **peaks.report(),
        "sizes": sizes,
        "summary": summary,
    }


def _measure_size(flags: Flags, items: int, peak: float) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from common.data.random_data import draw_items
    from common.nn import losses
    from launch.bench.kernels import list_kernels
    from launch.bench.programs import Program, time_in_turns

    rng = np.random.default_rng(0)
    rows, width = flags.rows, flags.width
    states = jnp.asarray(rng.standard_normal((rows, width), np.float32))
    table = jnp.asarray(rng.standard_normal((items + 1, width), np.float32) / width**0.5)
    target = jnp.asarray(draw_items(rng, items, (rows,)))
    candidates = jnp.asarray(draw_items(rng, items, (rows, 1 + flags.negatives)))
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
        loss.__name__: Program(jax.jit(jax.value_and_grad(loss, (0, 1))), states, table)
        for loss in (plain, fused, sampled)
    }
    needed = programs["plain"].temporary_bytes
    if needed > find_bound(flags):
        del programs["plain"]
    time_in_turns(programs, flags.blocks, flags.steps)
    scored = {"plain": items, "fused": items, "sampled": 1 + flags.negatives}
    return {
        "items": items,
        "plain_temporary_bytes": needed,
        "losses": {
            name: program.describe(rows, peak, flop=6 * scored[name] * width)
            for name, program in programs.items()
        },
        "time_over_plain": {
            name: divide_blocks(program.milliseconds, programs["plain"].milliseconds)
            for name, program in programs.items()
            if "plain" in programs and name != "plain"
        },
        "kernel_tables": list_kernels(programs, flags.steps) if flags.kernels else {},
    }


def find_bound(flags: Flags) -> float:
    """What the plain loss may take, in bytes."""
    room = find_room()
    if flags.plain_gigabytes >= 0:
        return 1e9 * flags.plain_gigabytes
    # A tenth is for the gradients, and for what the allocator cannot use.
    return 0.9 * room if room is not None else _PLAIN_BYTES_CPU


def tell(report: Report) -> None:
    """Prints a report."""
    for size in report["sizes"]:
        print(
            f"{size['items']:,} items, {report['rows']:,} rows, width {report['width']}, "
            f"{report['negatives']} sampled negatives, {report['compute_dtype']}"
        )
        for name, loss in size["losses"].items():
            print_step(name, loss, report)
            print(f"  {loss['temporary_bytes'] / 1e6:,.1f} MB beside arguments and gradients")
        if "plain" not in size["losses"]:
            needed = size["plain_temporary_bytes"] / 1e9
            print(f"plain: left out, it would take {needed:.1f} GB; --plain_gigabytes allows more")
        print_kernels(size["kernel_tables"])
        for name, ratio in size["time_over_plain"].items():
            spread = say_spread(ratio, ".3f")
            print(f"{name} / plain: {ratio['median']:.3f} times the time {spread}")


SUBJECT = Subject(
    str(__doc__),
    lambda: (Flags(),),
    measure,
    tell,
    # An eighth of the batch of 4,096 that the memory is bounded for
    ("--items=100000", "--items=1000000", "--rows=512", "--blocks=5"),
)
