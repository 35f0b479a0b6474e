"""How long a save holds training up, and how long it takes to write.

    python -m launch.bench saves [--megabytes=250] [--saves=3] [--folder=DIR]

stall      what `Checkpoints.save` takes from the training loop: copying the state
write      from there until the checkpoint is complete on disk, while training goes on
overlap    what the next save takes if it comes at once: it waits for the one before
checksums  the part of `write` that reads the files again and lists their checksums
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.settings.fields import setting
from launch.bench.subjects import Report, Subject
from launch.bench.summaries import summarize

_ROWS = 250_000  # numbers of one array of the state: 1 MB


@dataclass(frozen=True)
class Flags:
    """What is saved, where, and how often."""

    megabytes: str = setting("250", "sizes of parameters and moments together: 250,1000")
    folder: str = setting("", "on the disk to measure; by default the system's temporary one")
    saves: int = setting(5, "saves of each kind", least=1)


def measure(flags: Flags) -> Report:
    """Times saves of each size. Raises InputError for bad flags."""
    texts = flags.megabytes.split(",")
    if not all(text.isdecimal() and int(text) >= 3 for text in texts):
        raise InputError(f"--megabytes={flags.megabytes}: give whole numbers from 3 on")
    if flags.folder and not Path(flags.folder).is_dir():
        raise InputError(f"--folder={flags.folder}: no such folder; make it first")
    sizes = {}
    for text in texts:
        with tempfile.TemporaryDirectory(dir=flags.folder or None) as folder:
            sizes[text] = measure_saves(Path(folder), int(text), flags.saves)
    return {
        "megabytes": sizes,
        "summary": {
            f"{kind} of {text} MB, s": times["median"]
            for text, kinds in sizes.items()
            for kind, times in kinds.items()
        },
    }


def measure_saves(folder: Path, megabytes: int, saves: int) -> dict[str, Any]:
    """Seconds of each kind for one state, after one save that is not counted."""
    from common.training.checkpoints import Checkpoints
    from common.training.checksums import write_checksums
    from common.training.state import Progress

    seconds: dict[str, list[float]] = {"stall": [], "write": [], "overlap": [], "checksums": []}
    state = draw_state(megabytes)
    step = 0
    with Checkpoints(folder / "checkpoints") as checkpoints:

        def save() -> float:
            nonlocal step
            step += 1
            begun = time.perf_counter()
            checkpoints.save(state, Progress(step=step, best_step=step), {})
            return time.perf_counter() - begun

        save()
        for _ in range(saves):
            checkpoints.wait()
            seconds["stall"].append(save())
            seconds["overlap"].append(save())
            begun = time.perf_counter()
            checkpoints.wait()
            seconds["write"].append(time.perf_counter() - begun)
            begun = time.perf_counter()
            write_checksums(folder / "checkpoints" / str(step))
            seconds["checksums"].append(time.perf_counter() - begun)
    return {kind: summarize(times) for kind, times in seconds.items()}


def draw_state(megabytes: int) -> Any:
    """A `TrainState` of that size: random parameters and two moments, which compress badly."""
    import jax
    import jax.numpy as jnp

    from common.training.state import TrainState

    parts: list[dict[str, jax.Array]] = [{}, {}, {}]
    for number in range(megabytes):
        key = jax.random.fold_in(jax.random.key(0), number)
        parts[number % 3][f"array_{number:04}"] = jax.random.normal(key, (_ROWS // 50, 50))
    jax.block_until_ready(parts)
    params, *moments = parts
    return TrainState(jnp.int32(0), params, tuple(moments))


def tell(report: Report) -> None:
    """Prints a report."""
    for megabytes, kinds in report["megabytes"].items():
        parts = [
            f"{kind} {times['median']:.3f} s ({times['min']:.3f} to {times['max']:.3f})"
            for kind, times in kinds.items()
        ]
        print(f"{int(megabytes):,} MB: {', '.join(parts)}; medians of {report['saves']}")


SUBJECT = Subject(str(__doc__), lambda: (Flags(),), measure, tell, ("--megabytes=100",))
