"""Training runs in processes of their own, and whether two of them hold the same numbers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.json_files import parse_json, read_json, read_json_lines
from launch.snr import child_words

_MEND = "start again with another --workdir"
CHANGING = ("speed", "wall_seconds")  # of results.json: of this machine on that day


def start(words: Sequence[str], workdir: Path) -> subprocess.Popen[bytes]:
    """The training command in a process of its own; what it prints goes to a log beside workdir."""
    with log_of(workdir).open("ab") as log:
        return subprocess.Popen(
            child_words("main", [*words, f"--workdir={workdir}", "--notensorboard"]),
            stdout=log,
            stderr=log,
        )


def log_of(workdir: Path) -> Path:
    return workdir.with_name(workdir.name + ".log")


def read_step(workdir: Path) -> int:
    """The step of the last whole line of metrics.jsonl, 0 where there is none."""
    return read_last(workdir)[1]


def read_last(workdir: Path) -> tuple[str, int]:
    """Stage and step of the last whole line of metrics.jsonl, "" and 0 where there is none."""
    try:
        with (workdir / "metrics.jsonl").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 65536))
            lines = file.read().split(b"\n")[:-1]
            line = parse_json(lines[-1].decode(), "metrics.jsonl", _MEND)
            return str(line["stage"]), int(line["step"])
    except (OSError, IndexError, KeyError, ValueError, InputError):  # not there yet, or empty
        return "", 0


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
    differences += [
        f"results.json: {key}" for key in keys if results[0].get(key) != results[1].get(key)
    ]
    ranks = [(workdir / "ranks.parquet").read_bytes() for workdir in (first, second)]
    return differences + (["ranks.parquet: other bytes"] if ranks[0] != ranks[1] else [])


def read_log(workdir: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without their timing."""
    lines = read_json_lines(workdir / "metrics.jsonl", _MEND)
    return [{k: v for k, v in line.items() if k != "timing"} for line in lines]
