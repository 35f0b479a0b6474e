"""kill -9 at random moments of a training run, and what each of them hit.

Two of three moments are drawn uniformly over the time that the run takes when it is left alone, so
they may fall anywhere: while it starts, compiles, trains, judges. The third falls just after
something begins to be written, as a save is short beside the rest.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.runs.folder import LOCK
from common.training.checksums import LISTING
from launch.soak_runs import compare_runs, log_of, read_last, start

# In the order of a life. "saving": a checkpoint is being written; "listing": it has its name, and
# no checksums yet; "writing": ranks or results are.
PHASES = ("starting", "compiling", "training", "saving", "listing", "judging", "writing")
LOOK_SECONDS = 0.002  # between two looks for something that is written
SAVES = 3  # a moment may wait for the first, second or third thing that begins to be written
AFTER_SECONDS = 0.3  # at most, from there to the kill
# What a kill may leave, beside what a finished run has; the next command clears it.
_TEMPORARY = re.compile(r"(checkpoints/)?[^/]+\.(orbax-checkpoint-tmp.*|tmp)")
_CHECKPOINT = re.compile(r"checkpoints/\d+")

Names = dict[str, tuple[int, int]]  # of a workdir and its checkpoints -> inode, time of the change


class Moment(NamedTuple):
    """When to kill: so long after the start, or after the n-th thing begins to be written."""

    seconds: float
    writes: int = 0  # n; 0 = after the start


class Kill(NamedTuple):
    """What a kill hit, as far as the folder and the log tell."""

    seconds: float  # of the life of the process
    phase: str  # of PHASES
    stage: str  # of the newest line of metrics.jsonl, "" = none yet
    step: int  # of that line


def draw_moment(rng: np.random.Generator, whole_seconds: float) -> Moment:
    """whole_seconds: what the run takes when it is left alone"""
    if rng.integers(3):
        return Moment(float(rng.uniform(0, whole_seconds)))
    return Moment(float(rng.uniform(0, AFTER_SECONDS)), int(rng.integers(1, SAVES + 1)))


def kill_at_random(
    words: Sequence[str],
    workdir: Path,
    whole: Path,
    whole_seconds: float,
    kills: int,
    rng: np.random.Generator,
) -> tuple[int, dict[str, Any]]:
    """Runs the training command again and again until it has been killed so many times.

    workdir: its runs are workdir1, workdir2, ...: one that ends is compared with `whole`, and a
        new one begins; the last one is left alone after the last kill
    Returns the last exit code, 0 unless a run failed, and runs, kills (`Kill`s) and differences.
    """
    hits: list[Kill] = []
    differences: list[str] = []
    runs = 0
    while len(hits) < kills:
        runs += 1
        place = workdir.with_name(f"{workdir.name}{runs}")
        ended = False
        while not ended:
            moment = draw_moment(rng, whole_seconds) if len(hits) < kills else None
            code, hit = run_until(words, place, moment)
            if hit is not None:
                hits.append(hit)
                differences += [f"{place.name}: {line}" for line in find_litter(place, whole)]
            elif code != 0:
                return code, {"runs": runs, "kills": hits, "failed": str(place)}
            else:
                ended = True
        found = [*compare_runs(whole, place), *find_litter(place, whole, killed=False)]
        differences += [f"{place.name}: {line}" for line in found]
    kept = [hit._asdict() for hit in hits]
    return 0, {"runs": runs, "kills": kept, "differences": differences}


def run_until(
    words: Sequence[str], workdir: Path, moment: Moment | None
) -> tuple[int, Kill | None]:
    """One life of the training command, killed at a moment unless it ends before.

    Returns its exit code, and what the kill hit.
    """
    log = log_of(workdir)
    said = log.stat().st_size if log.exists() else 0
    lines, before = read_last(workdir), list_names(workdir)
    begun = time.monotonic()
    process = start(words, workdir)
    if moment is not None and wait_for(process, workdir, moment, before):
        process.kill()
    code = process.wait()
    if code != -9:
        return code, None
    text = log.read_bytes()[said:].decode(errors="replace")
    stage, step = read_last(workdir)
    phase = find_phase(workdir, before, text, trained=(stage, step) != lines)
    return code, Kill(round(time.monotonic() - begun, 2), phase, stage, step)


def wait_for(
    process: subprocess.Popen[bytes], workdir: Path, moment: Moment, before: Names
) -> bool:
    """Returns True at the moment; False where the process ends before it."""
    begun = time.monotonic()
    if moment.writes:
        old = find_temporary(before)
        seen = set(old)
        while len(seen) - len(old) < moment.writes:
            if process.poll() is not None:
                return False
            seen |= find_temporary(list_names(workdir))
            time.sleep(LOOK_SECONDS)
        begun = time.monotonic()
    while time.monotonic() - begun < moment.seconds:
        if process.poll() is not None:
            return False
        time.sleep(LOOK_SECONDS)
    return process.poll() is None


def list_names(workdir: Path) -> Names:
    """What is in a workdir, and in its folder of checkpoints."""
    names: Names = {}
    for folder, prefix in ((workdir, ""), (workdir / "checkpoints", "checkpoints/")):
        try:
            for path in folder.iterdir():
                about = path.stat()
                names[prefix + path.name] = (about.st_ino, about.st_ctime_ns)
        except OSError:  # not there yet, or gone between the two calls
            continue
    return names


def is_temporary(name: str) -> bool:
    """Whether a name of `list_names` is of something that is not complete."""
    return _TEMPORARY.fullmatch(name) is not None


def find_temporary(names: Names) -> set[tuple[str, int]]:
    """Name and inode of what is not complete: a folder that fills up stays one."""
    return {(name, inode) for name, (inode, _) in names.items() if is_temporary(name)}


def find_phase(workdir: Path, before: Names, said: str, trained: bool) -> str:
    """Which of PHASES a killed life was in.

    before: of `list_names`, when it began; said: what it printed; trained: it has logged a step
    """
    now = list_names(workdir)
    new = {name for name in now if now[name] != before.get(name)}
    if any("orbax" in name for name in new):
        return "saving"
    if any(_CHECKPOINT.fullmatch(n) and not (workdir / n / LISTING).exists() for n in new):
        return "listing"
    if any(name.startswith(("ranks.parquet", "results.json")) for name in new):
        return "writing"
    if re.search(r"^trained \d+ steps", said, re.MULTILINE):
        return "judging"
    if trained:
        return "training"
    return "compiling" if said.strip() else "starting"


def find_litter(workdir: Path, whole: Path, *, killed: bool = True) -> list[str]:
    """What is in a workdir that a run left alone does not have, one line each.

    killed: checkpoints of other steps, and what the next command clears, may be there; else also
    what is missing is told
    """
    here, there = (list_names(folder).keys() for folder in (workdir, whole))
    more = sorted(here - there)
    if killed:
        more = [
            name
            for name in more
            if not (name == LOCK or is_temporary(name) or _CHECKPOINT.fullmatch(name))
        ]
        return [f"left by a kill: {name}" for name in more]
    return [f"left at the end: {name}" for name in more] + [
        f"missing at the end: {name}" for name in sorted(there - here)
    ]


def count_phases(kills: Sequence[dict[str, Any]]) -> dict[str, int]:
    """How many kills hit each phase, in the order of PHASES."""
    counts = Counter(kill["phase"] for kill in kills)
    return {phase: counts[phase] for phase in PHASES}
