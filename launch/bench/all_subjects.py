"""All subjects, one after the other, with small arguments, and one report of them.

    python -m launch.bench --all [--out=FILE.json]

Each subject runs in a process of its own: peaks of memory are its own, and a subject that fails
is named and leaves the others alone. It takes minutes (docs/performance.md).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.json_files import read_json
from launch.bench.subjects import Subject, read_flags, write_report
from launch.snr import child_words

_PACKAGES = ("jax", "jaxlib", "flax", "numpy")


def run_all(argv: Sequence[str], subjects: Mapping[str, Subject], machine: str) -> int:
    """Runs the subjects, prints a table of their figures, and writes --out; returns the exit code.

    machine: one line, for the report
    1 where a subject has failed. Raises InputError, before measuring, for a bad --out.
    """
    _, out = read_flags((), argv, str(__doc__))
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": {name: version(name) for name in _PACKAGES},
        "subjects": {},
    }
    start = time.perf_counter()
    for name, subject in subjects.items():
        if subject.small is None:
            continue
        print(f"\n== {name} {' '.join(subject.small)}", flush=True)
        report["subjects"][name] = run_alone(name, subject.small)
        report["seconds"] = time.perf_counter() - start
        if out is not None:  # after each one: what is measured is not lost
            write_report(out, report)
    _print_summary(report)
    return 1 if any("error" in result for result in report["subjects"].values()) else 0


def run_alone(subject: str, words: Sequence[str]) -> dict[str, Any]:
    """Runs one subject in a process of its own; what it prints is passed on.

    Returns arguments, seconds, and report, or error: one line.
    """
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "report.json"
        done = subprocess.run(
            child_words("bench", [subject, *words, f"--out={file}"]),
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        result: dict[str, Any] = {
            "arguments": list(words),
            "seconds": time.perf_counter() - start,
        }
        if done.returncode == 0:
            return result | {"report": read_json(file, "run that subject alone")}
    last = done.stderr.strip().rpartition("\n")[2] or "no message"
    print(done.stderr, file=sys.stderr, end="", flush=True)
    return result | {"error": f"exit code {done.returncode}: {last.removeprefix('error: ')}"}


def _print_summary(report: Mapping[str, Any]) -> None:
    lines = [("subject", "figure", "value")]
    for subject, result in report["subjects"].items():
        if "error" in result:
            lines.append((subject, "failed", result["error"]))
            continue
        for figure, value in result["report"]["summary"].items():
            lines.append((subject, figure, _format(value)))
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    print(f"\n{report['machine']}, {report['date']}, {report['seconds']:.0f} s in all")
    for subject, figure, value in lines:
        print(f"{subject:{widths[0]}}  {figure:{widths[1]}}  {value}")


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
