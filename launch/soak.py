"""Does a run survive this machine? The same run twice: left alone, and killed again and again.

    python -m launch.soak --config=FILE[:arg] [--config.KEY=VALUE ...] --workdir=DIR
    python -m launch.soak --config=FILE ... --workdir=DIR --kills=50
    python -m launch.soak --table=DIR,DIR

DIR/whole is trained in peace, and its memory is watched. DIR/killed gets a kill -9 every few
hundred steps, at moments drawn from --seed, and is started again until it ends. Then both must hold
the same numbers, bit for bit; soak.json has the figures. The config says how long the run is: for
more steps set --config.train.epochs, and --config.train.patience=0.

With --kills the moments are anywhere in the life of the process, its start and its last file
included, and as many runs follow each other (DIR/killed1, killed2, ...) as it takes. After each
kill nothing may be left that the next command does not clear. --table prints what several such
soaks have found: where their kills hit, and whether the numbers are the same.

Exit codes: 0 the same numbers, 1 other numbers or a run that failed, 2 bad input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from common.errors import InputError
from common.files import make_folder, take_folder, write_beside
from common.json_files import read_json
from launch.command import parse_flags, run_command
from launch.config import take_config
from launch.soak_kills import count_phases, kill_at_random
from launch.soak_runs import compare_runs, log_of, read_step, start

LOOK_SECONDS = 0.1  # between two looks at a run
DELAY_SECONDS = 1.0  # at most, from a step's line to the kill: it may hit a save, too
WARM_UP = 1 / 3  # of a run's steps, left out of the slope: compiling, first evaluation and save


class Sample(NamedTuple):
    """One look at a running process."""

    step: int  # of the newest line of metrics.jsonl, 0 = none yet
    resident: int | None  # bytes of memory, None where the platform does not tell


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", None, "folder for both runs", flag_values=values)
    flags.DEFINE_integer(
        "kill_every", 300, "steps between two kills, on average", lower_bound=1, flag_values=values
    )
    flags.DEFINE_integer(
        "kills", 0, "kills at random moments, instead of --kill_every", 0, flag_values=values
    )
    flags.DEFINE_list("table", [], "workdirs of soaks with --kills, to sum up", flag_values=values)
    flags.DEFINE_integer("seed", 0, "of the moments of the kills", 0, flag_values=values)
    if any(word.lstrip("-") in ("h", "help") for word in argv):
        parse_flags(values, argv, __doc__)
    if any(word.lstrip("-").startswith("table") for word in argv):
        parse_flags(values, argv, __doc__)
        return show_table([Path(place) for place in values.table])
    _, rest = take_config(argv)  # a bad key is told before an hour has gone by
    parse_flags(values, rest, __doc__)
    if not values.workdir:
        raise InputError("--workdir: missing; give a folder for the two runs, such as runs/soak")
    workdir = take_folder(values.workdir, "workdir")
    if workdir.exists() and any(workdir.iterdir()):
        raise InputError(f"--workdir={workdir}: is not empty; use another one, or delete it")
    make_folder(workdir)
    words = list(argv)
    for word in rest:
        words.remove(word)

    report: dict[str, Any] = {}
    rng = np.random.default_rng(values.seed)
    steps: dict[str, Callable[[Path], tuple[int, dict[str, Any]]]] = {
        "whole": lambda place: run_whole(words, place)
    }
    if values.kills:
        # The first may have compiled all programs; how long is a life that finds them?
        steps["again"] = lambda place: run_whole(words, place)
        steps["killed"] = lambda place: kill_at_random(
            words, place, workdir / "whole", report["again"]["seconds"], values.kills, rng
        )
    else:
        steps["killed"] = lambda place: run_killed(words, place, values.kill_every, rng)
    for name, run in steps.items():
        begun = time.time()
        code, found = run(workdir / name)
        if code != 0:
            place = Path(found.get("failed", workdir / name))
            print(f"error: {place}: exit code {code}; see {log_of(place)}", file=sys.stderr)
            return 1
        report[name] = {**found, "seconds": round(time.time() - begun, 1)}
    if values.kills:
        differences = compare_runs(workdir / "whole", workdir / "again")
        report["differences"] = [*differences, *report["killed"].pop("differences")]
    else:
        report["differences"] = compare_runs(workdir / "whole", workdir / "killed")
    write_beside(workdir / "soak.json", json.dumps(report, indent=1) + "\n")
    print(describe(report))
    return 1 if report["differences"] else 0


def run_whole(words: Sequence[str], workdir: Path) -> tuple[int, dict[str, Any]]:
    """Runs the training command in peace. Returns its exit code, and steps and memory."""
    process = start(words, workdir)
    samples = list(watch(process, workdir))
    return process.returncode, {"steps": read_step(workdir), "memory": fit_memory(samples)}


def run_killed(
    words: Sequence[str], workdir: Path, kill_every: int, rng: np.random.Generator
) -> tuple[int, dict[str, Any]]:
    """Runs the training command, and kills it and starts it again until it ends by itself.

    Returns its last exit code, and the steps of the kills.
    """
    kills: list[int] = []
    while True:
        # From the kill before, not from the checkpoint: so the run gets on, however rare they are.
        target = (kills[-1] if kills else 0) + int(rng.integers(1, 2 * kill_every))
        process = start(words, workdir)
        for sample in watch(process, workdir):
            if sample.step >= target:
                time.sleep(rng.uniform(0, DELAY_SECONDS))
                process.kill()
        if process.returncode != -9:
            return process.returncode, {"kills": kills}
        kills.append(max(target, read_step(workdir)))


def watch(process: subprocess.Popen[bytes], workdir: Path) -> Iterator[Sample]:
    """Looks at a process until it ends."""
    while process.poll() is None:
        yield Sample(read_step(workdir), read_resident(process.pid))
        time.sleep(LOOK_SECONDS)


def read_resident(pid: int) -> int | None:
    """Bytes of memory that a process holds; None off Linux."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        (kilobytes,) = (line.split()[1] for line in status.splitlines() if "VmRSS" in line)
    except (OSError, ValueError):  # another system, or the process has just ended
        return None
    return 1024 * int(kilobytes)


def fit_memory(samples: Sequence[Sample]) -> dict[str, float] | None:
    """The line of least squares through memory over steps, after the warm-up and while it trains.

    Returns MB at its first and last step, and MB gained per 1,000 steps; None where it is unknown.
    """
    last = max((sample.step for sample in samples), default=0)
    kept = [
        (step, resident / 1e6)
        for step, resident in samples
        if resident is not None and WARM_UP * last <= step < last
    ]
    steps = np.array([step for step, _ in kept])
    megabytes = np.array([megabytes for _, megabytes in kept])
    if len(set(steps)) < 2:
        return None
    slope, level = np.polyfit(steps, megabytes, 1)
    first, end = (float(level + slope * step) for step in (steps[0], steps[-1]))
    return {"first_mb": first, "last_mb": end, "mb_per_1000_steps": float(1000 * slope)}


def describe(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    whole, killed, memory = report["whole"], report["killed"], report["whole"]["memory"]
    lines = [
        f"left alone: {whole['steps']:,} steps in {whole['seconds']:,.0f} s",
        f"killed {len(killed['kills'])} times: {killed['seconds']:,.0f} s"
        + (f", {killed['runs']} runs" if "runs" in killed else ""),
        *(
            [
                ", ".join(
                    f"{count} {phase}" for phase, count in count_phases(killed["kills"]).items()
                )
            ]
            if "runs" in killed
            else []
        ),
        "memory: not known on this system, or too few steps"
        if memory is None
        else f"memory: {memory['first_mb']:,.1f} MB to {memory['last_mb']:,.1f} MB, "
        f"{memory['mb_per_1000_steps']:+.2f} MB per 1,000 steps",
        *(f"differs: {line[:300]}" for line in report["differences"]),
        "the same numbers" if not report["differences"] else "other numbers",
    ]
    return "\n".join(lines)


def show_table(places: Sequence[Path]) -> int:
    """Prints one row for each soak with --kills; returns the exit code, 1 where numbers differ."""
    rows, differs = [], False
    for place in places:
        report = read_json(place / "soak.json", "run that soak to its end first")
        if "runs" not in report.get("killed", {}):
            raise InputError(f"{place}: a soak without --kills; give others")
        killed = report["killed"]
        counts = count_phases(killed["kills"])
        differs |= bool(report["differences"])
        stages = {kill["stage"] for kill in killed["kills"] if kill["stage"]}
        rows.append(
            {
                "soak": place.name,
                "kills": len(killed["kills"]),
                **counts,
                "stages": len(stages),
                "runs": killed["runs"],
                "seconds": round(killed["seconds"]),
                "numbers": "other" if report["differences"] else "the same",
            }
        )
    lines = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
