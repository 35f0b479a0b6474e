"""Full-catalogue ranking as evaluation runs it: users a second, time for all, memory.

    python -m launch.bench catalogue [--users=22700] [--items=673415] [--whole] [--out=FILE.json]

Scores are inner products of random states and a random item table, counted in chunks of items; the
encoder of a method is left out. A block is a batch of users, from host arrays to counts on the
host. Only --blocks of them are timed and the time for all users is worked out from their median;
--whole times all users. Operations are those of the matrix products that are done: where the
catalogue takes more than one chunk, every score is made twice.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from launch.bench_steps import (
    define_counts,
    describe_software,
    describe_work,
    measure_memory,
    measure_peaks,
    print_memory,
    print_setting,
    print_step,
    run_bench,
)
from launch.command import parse_flags

SMALL = ("--blocks=7",)  # of `launch.bench --all`
_LEAST_BLOCKS = 5


def run(argv: Sequence[str]) -> None:
    """Measures, prints, and writes --out. Raises InputError for bad flags."""
    values = define_counts(flags.FlagValues(), (
        ("users", 22_700, 1, "users to rank for"),
        ("items", 673_415, 100, "items of the catalogue"),
        ("width", 64, 1, "width of states and items"),
        ("batch", 512, 2, "users of a batch"),
        ("seen", 64, 0, "items that are left out for each user"),
        ("chunk_megabytes", 512, 1, "bound of a block of scores, MiB"),
        ("blocks", 7, _LEAST_BLOCKS, "timed batches"),
    ))  # fmt: skip
    flags.DEFINE_bool("whole", False, "time all users", flag_values=values)
    parse_flags(values, argv, str(__doc__))
    run_bench(lambda: _measure(values), _print_report, values.out)


def _measure(values: flags.FlagValues) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp
    import numpy as np

    from common.ranking.catalogue import count_catalogue, split_catalogue

    rng = np.random.default_rng(0)
    batch, items = values.batch, values.items
    batches = -(-values.users // batch)
    chunks = split_catalogue(items, batch, values.chunk_megabytes * 2**20)
    table = jnp.asarray(rng.standard_normal((items + 1, values.width), np.float32))

    def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        states = rng.standard_normal((batch, values.width), np.float32)
        target = rng.integers(1, items + 1, batch, dtype=np.int32)
        others = rng.choice(items - 1, min(values.seen, items - 1), replace=False) + 1
        seen = (target[:, None] - 1 + others) % items + 1  # distinct, never the target
        return states, target, seen.astype(np.int32)

    def rank(states: Any, target: Any, seen: Any, table: Any) -> Any:
        return count_catalogue(lambda chunk: states @ table[chunk].T, target, seen, chunks)

    first = draw()
    start = time.perf_counter()
    compiled = jax.jit(rank).lower(*first, table).compile()
    compile_seconds = time.perf_counter() - start
    jax.device_get(compiled(*first, table))
    peaks = measure_peaks(_LEAST_BLOCKS)
    milliseconds = []
    for _ in range(max(batches, _LEAST_BLOCKS) if values.whole else values.blocks):
        inputs = draw()
        start = time.perf_counter()
        counts = jax.device_get(compiled(*inputs, table))
        milliseconds.append(1e3 * (time.perf_counter() - start))
    assert not counts.broken.any()
    passes = 2 if len(chunks) > 1 else 1
    flop = 2.0 * passes * batch * chunks.size * values.width
    measured = values.whole and batches >= _LEAST_BLOCKS
    seconds = sum(milliseconds) if measured else batches * statistics.median(milliseconds)
    memory = compiled.memory_analysis()
    report = {
        "users": values.users,
        "items": items,
        "width": values.width,
        "batch": batch,
        "seen": values.seen,
        "chunks": len(chunks),
        "items_per_chunk": chunks.shape[1],
        "compute_dtype": "float32",
        "blocks": len(milliseconds),
        "steps_per_block": 1,
        **describe_software(),
        "peak_flop_per_second": peaks,
        "ranking": {
            "compile_seconds": compile_seconds,
            "temporary_bytes": int(getattr(memory, "temp_size_in_bytes", 0)),
        }
        | describe_work(milliseconds, batch, flop, peaks["float32"]["median"]),
        "seconds_for_all": seconds / 1e3,
        "seconds_for_all_measured": measured,  # else worked out from the median of the blocks
        "peak_memory": measure_memory(),
    }
    report["summary"] = {
        "users/s": report["ranking"]["rows_per_second"],
        f"s for {values.users:,} users{'' if measured else ' (worked out)'}": seconds / 1e3,
        "share of peak": report["ranking"]["analytic_share_of_peak"],
        "peak host GB": report["peak_memory"]["host"] / 1e9,
    }
    return report


def _print_report(report: dict[str, Any]) -> None:
    print_setting(report)
    print(
        f"catalogue: random, {report['items']:,} items in {report['chunks']} chunk(s) of "
        f"{report['items_per_chunk']:,}, width {report['width']}, {report['seen']} left out for "
        f"each user; a row is a user, a step a batch of {report['batch']}"
    )
    ranking = report["ranking"]
    print_step("ranking", ranking, report, ranking["analytic_flop_per_step"])
    how = (
        "measured"
        if report["seconds_for_all_measured"]
        else f"worked out from the median of {report['blocks']} batches"
    )
    print(f"all {report['users']:,} users: {report['seconds_for_all']:.1f} s ({how})")
    print(f"  {ranking['temporary_bytes'] / 1e6:,.1f} MB beside the table")
    print_memory(report)
