"""Measures speed.

    python -m launch.bench --all [--out=FILE.json]
    python -m launch.bench data [--data=DIR | --preset=demo] [--history=30] [--out=FILE.json]
    python -m launch.bench lcr [--batch=1112] [--history=30] [--items=20000] [--out=FILE.json]
    python -m launch.bench gensr [--size=base] [--length=110] [--torch] [--out=FILE.json]
    python -m launch.bench levers [--config=FILE] [--batch=64] [--many=8] [--out=FILE.json]
    python -m launch.bench losses [--items=100000] [--rows=512] [--out=FILE.json]
    python -m launch.bench catalogue [--users=22700] [--items=673415] [--out=FILE.json]
    python -m launch.bench saves [--megabytes=250] [--folder=DIR] [--out=FILE.json]

The first word is the subject, one module each; `SUBJECT --help` lists its flags. `--all` runs all
of them with small arguments and gathers their figures.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from common.errors import InputError
from launch import (
    bench_catalogue,
    bench_data,
    bench_gensr,
    bench_lcr,
    bench_levers,
    bench_losses,
    bench_saves,
)
from launch.bench_all import run_all
from launch.command import run_command


class Subject(Protocol):
    """A module that measures one thing."""

    @property
    def SMALL(self) -> Sequence[str]:
        """Arguments for `--all`: a minute or two on 2 CPU cores."""

    def run(self, argv: Sequence[str]) -> None:
        """Measures, prints, and writes --out, as `bench_steps.run_bench` does."""


SUBJECTS: dict[str, Subject] = {
    "data": bench_data,
    "lcr": bench_lcr,
    "gensr": bench_gensr,
    "levers": bench_levers,
    "losses": bench_losses,
    "catalogue": bench_catalogue,
    "saves": bench_saves,
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    subject = argv[0] if argv else ""
    if subject.lstrip("-") in ("h", "help"):
        print(f"{str(__doc__).strip()}\n\nsubjects: {', '.join(SUBJECTS)}")
        return 0
    if subject == "--all":
        arguments = {name: module.SMALL for name, module in SUBJECTS.items()}
        return run_all(argv[1:], arguments, describe_machine())
    if subject not in SUBJECTS:
        raise InputError(
            f"subject {subject!r}: unknown; use one of {', '.join(SUBJECTS)}, or --all"
        )
    print(describe_machine())
    SUBJECTS[subject].run(argv[1:])
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
