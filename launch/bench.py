"""Measures speed.

    python -m launch.bench data [--data=DIR | --preset=demo] [--history=30] [--batch=1024]
    python -m launch.bench lcr [--batch=1112] [--history=30] [--items=20000] [--out=FILE.json]
    python -m launch.bench gensr [--size=base] [--length=110] [--torch] [--out=FILE.json]
    python -m launch.bench saves [--megabytes=250,1000] [--folder=DIR] [--out=FILE.json]

The first word is the subject, one module each with `run(argv)`; `SUBJECT --help` lists its flags.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from common.errors import InputError
from launch import bench_data, bench_gensr, bench_lcr, bench_saves
from launch.command import run_command

SUBJECTS: dict[str, Callable[[Sequence[str]], None]] = {
    "data": bench_data.run,
    "lcr": bench_lcr.run,
    "gensr": bench_gensr.run,
    "saves": bench_saves.run,
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    subject = argv[0] if argv else ""
    if subject.lstrip("-") in ("h", "help"):
        print(f"{str(__doc__).strip()}\n\nsubjects: {', '.join(SUBJECTS)}")
        return 0
    if subject not in SUBJECTS:
        raise InputError(f"subject {subject!r}: unknown; use one of {', '.join(SUBJECTS)}")
    print(describe_machine())
    SUBJECTS[subject](argv[1:])
    return 0


def describe_machine() -> str:
    """One line: processor, the cores this process may use, Python."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")  # Linux tells more than the platform module
    if info.is_file():
        named = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        model = named[0].partition(":")[2].strip() if named else model
    cores = os.cpu_count()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return f"machine: {model}, {usable} of {cores} cores, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
