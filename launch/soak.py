"""Does a run survive this machine? The same run twice: left alone, and killed again and again.

    python -m launch.soak --config=FILE[:arg] [--config.KEY=VALUE ...] --workdir=DIR

DIR/whole is trained in peace, and its memory is watched. DIR/killed gets a kill -9 every few
hundred steps, at moments drawn from --seed, and is started again until it ends. Then both must hold
the same numbers, bit for bit; soak.json has the figures. The config says how long the run is: for
more steps set --config.train.epochs, and --config.train.patience=0.

Exit codes: 0 the same numbers, 1 other numbers or a run that failed, 2 bad input.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from common.errors import InputError
from common.json_files import parse_json, read_json, read_json_lines
from launch.command import parse_flags, run_command
from launch.config import take_config
from launch.files import write_beside

LOOK_SECONDS = 0.1  # between two looks at a run
DELAY_SECONDS = 1.0  # at most, from a step's line to the kill: it may hit a save, too
WARM_UP = 1 / 3  # of a run's steps, left out of the slope: compiling, first evaluation and save
_MEND = "start again with another --workdir"
CHANGING = ("speed", "wall_seconds")  # of results.json: of this machine on that day


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
    flags.DEFINE_integer("seed", 0, "of the moments of the kills", 0, flag_values=values)
    if any(word.lstrip("-") in ("h", "help") for word in argv):
        parse_flags(values, argv, __doc__)
    _, rest = take_config(argv)  # a bad key is told before an hour has gone by
    parse_flags(values, rest, __doc__)
    if not values.workdir:
        raise InputError("--workdir: missing; give a folder for the two runs, such as runs/soak")
    workdir = Path(values.workdir).resolve()
    if workdir.exists() and any(workdir.iterdir()):
        raise InputError(f"--workdir={workdir}: is not empty; use another one, or delete it")
    workdir.mkdir(parents=True, exist_ok=True)
    words = list(argv)
    for word in rest:
        words.remove(word)

    report: dict[str, Any] = {}
    for name in ("whole", "killed"):
        begun = time.time()
        if name == "whole":
            code, found = run_whole(words, workdir / name)
        else:
            rng = np.random.default_rng(values.seed)
            code, found = run_killed(words, workdir / name, values.kill_every, rng)
        if code != 0:
            log = log_of(workdir / name)
            print(f"error: {workdir / name}: exit code {code}; see {log}", file=sys.stderr)
            return 1
        report[name] = {**found, "seconds": round(time.time() - begun, 1)}
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


def start(words: Sequence[str], workdir: Path) -> subprocess.Popen[bytes]:
    """The training command in a process of its own; what it prints goes to a log beside workdir."""
    with log_of(workdir).open("ab") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "launch.main",
                *words,
                f"--workdir={workdir}",
                "--notensorboard",
            ],
            stdout=log,
            stderr=log,
        )


def log_of(workdir: Path) -> Path:
    return workdir.with_name(workdir.name + ".log")


def watch(process: subprocess.Popen[bytes], workdir: Path) -> Iterator[Sample]:
    """Looks at a process until it ends."""
    while process.poll() is None:
        yield Sample(read_step(workdir), read_resident(process.pid))
        time.sleep(LOOK_SECONDS)


def read_step(workdir: Path) -> int:
    """The step of the last whole line of metrics.jsonl, 0 where there is none."""
    try:
        with (workdir / "metrics.jsonl").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65536))
            lines = file.read().split(b"\n")[:-1]
            return int(parse_json(lines[-1].decode(), "metrics.jsonl", _MEND)["step"])
    except (OSError, IndexError, ValueError, InputError):  # not there yet, or empty
        return 0


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


def compare_runs(first: Path, second: Path) -> list[str]:
    """Where two runs differ in their numbers, bit for bit: one line each, none where they agree."""
    logs = [read_log(workdir) for workdir in (first, second)]
    differences = [
        f"metrics.jsonl, line {number}: {lines[0]} and {lines[1]}"
        for number, lines in enumerate(zip(*logs, strict=False), 1)
        if lines[0] != lines[1]
    ][:5]
    if len(logs[0]) != len(logs[1]):
        differences.append(f"metrics.jsonl: {len(logs[0])} lines and {len(logs[1])}")
    results = [read_json(workdir / "results.json", _MEND) for workdir in (first, second)]
    keys = sorted({*results[0], *results[1]} - {*CHANGING})
    return differences + [
        f"results.json: {key}" for key in keys if results[0].get(key) != results[1].get(key)
    ]


def read_log(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their timing."""
    lines = read_json_lines(workdir / "metrics.jsonl", _MEND)
    return [{k: v for k, v in line.items() if k != "timing"} for line in lines]


def describe(report: dict[str, Any]) -> str:
    """The report in a few lines."""
    whole, killed, memory = report["whole"], report["killed"], report["whole"]["memory"]
    lines = [
        f"left alone: {whole['steps']:,} steps in {whole['seconds']:,.0f} s",
        f"killed {len(killed['kills'])} times: {killed['seconds']:,.0f} s",
        "memory: not known on this system, or too few steps"
        if memory is None
        else f"memory: {memory['first_mb']:,.1f} MB to {memory['last_mb']:,.1f} MB, "
        f"{memory['mb_per_1000_steps']:+.2f} MB per 1,000 steps",
        *(f"differs: {line[:300]}" for line in report["differences"]),
        "the same numbers" if not report["differences"] else "other numbers",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
