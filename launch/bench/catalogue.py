"""Full-catalogue ranking as evaluation runs it: users a second, time for all, memory.

    python -m launch.bench catalogue [--users=22700] [--items=673415] [--whole] [--out=FILE.json]

Scores are inner products of random states and a random item table, counted in chunks of items; the
encoder of a method is left out. A block is a batch of users, from host arrays to counts. Only
--blocks of them are timed and the time for all users is worked out from their median; --whole times
all users. Operations are those of the matrix products that are done: where the catalogue takes more
than one chunk, every score is made twice.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Any

from common.settings.fields import setting
from launch.bench.machine import measure_memory
from launch.bench.subjects import Report, Subject
from launch.bench.summaries import print_step

_LEAST_BLOCKS = 5


@dataclass(frozen=True)
class Flags:
    """Sizes, and how much is timed."""

    users: int = setting(22_700, "users to rank for", least=1)
    items: int = setting(673_415, "items of the catalogue", least=100)
    width: int = setting(64, "width of states and items", least=1)
    batch: int = setting(512, "users of a batch", least=2)
    seen: int = setting(64, "items that are left out for each user", least=0)
    chunk_megabytes: int = setting(512, "bound of a block of scores, MiB", least=1)
    blocks: int = setting(7, "timed batches", least=_LEAST_BLOCKS)
    whole: bool = setting(False, "time all users")


def measure(flags: Flags) -> Report:
    """Times the ranking of batches of users."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from common.ranking.catalogue import count_catalogue, split_catalogue
    from launch.bench.programs import Program, measure_peaks

    rng = np.random.default_rng(0)
    batch, items = flags.batch, flags.items
    batches = -(-flags.users // batch)
    chunks = split_catalogue(items, batch, flags.chunk_megabytes * 2**20)
    table = jnp.asarray(rng.standard_normal((items + 1, flags.width), np.float32))

    def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        states = rng.standard_normal((batch, flags.width), np.float32)
        target = rng.integers(1, items + 1, batch, dtype=np.int32)
        others = rng.choice(items - 1, min(flags.seen, items - 1), replace=False) + 1
        seen = (target[:, None] - 1 + others) % items + 1  # distinct, never the target
        return states, target, seen.astype(np.int32)

    def rank(states: Any, target: Any, seen: Any, table: Any) -> Any:
        return count_catalogue(lambda chunk: states @ table[chunk].T, target, seen, chunks)

    ranking = Program(jax.jit(rank), *draw(), table)
    ranking.run_block(1)
    ranking.milliseconds.clear()
    peaks = measure_peaks(_LEAST_BLOCKS)
    for _ in range(max(batches, _LEAST_BLOCKS) if flags.whole else flags.blocks):
        ranking.arguments = (*draw(), table)
        counts = ranking.run_block(1)
    assert not jax.device_get(counts).broken.any()
    passes = 2 if len(chunks) > 1 else 1
    figures = ranking.describe(
        batch, peaks.of("float32_highest"), flop=2.0 * passes * chunks.size * flags.width
    )
    measured = flags.whole and batches >= _LEAST_BLOCKS
    times = ranking.milliseconds
    seconds = (sum(times) if measured else batches * statistics.median(times)) / 1e3
    return {
        "chunks": len(chunks),
        "items_per_chunk": chunks.shape[1],
        "compute_dtype": "float32",
        "blocks": len(times),
        "steps_per_block": 1,
        **peaks.report(),
        "ranking": figures,
        "seconds_for_all": seconds,
        "seconds_for_all_measured": measured,  # else worked out from the median of the blocks
        "summary": {
            "users/s": figures["rows_per_second"],
            f"s for {flags.users:,} users{'' if measured else ' (worked out)'}": seconds,
            "share of peak": figures["analytic_share_of_peak"],
            "peak host GB": measure_memory()["host"] / 1e9,
        },
    }


def tell(report: Report) -> None:
    """Prints a report."""
    print(
        f"catalogue: random, {report['items']:,} items in {report['chunks']} chunk(s) of "
        f"{report['items_per_chunk']:,}, width {report['width']}, {report['seen']} left out for "
        f"each user; a row is a user, a step a batch of {report['batch']}"
    )
    ranking = report["ranking"]
    print_step("ranking", ranking, report)
    how = (
        "measured"
        if report["seconds_for_all_measured"]
        else f"worked out from the median of {report['blocks']} batches"
    )
    print(f"all {report['users']:,} users: {report['seconds_for_all']:.1f} s ({how})")
    print(f"  {ranking['temporary_bytes'] / 1e6:,.1f} MB beside the table")


SUBJECT = Subject(str(__doc__), lambda: (Flags(),), measure, tell, ("--blocks=7",))
