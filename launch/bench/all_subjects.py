"""All subjects, one after the other, with small arguments, and one report of them.

    python -m launch.bench --all [--out=FILE.json]

Each subject runs in a process of its own: peaks of memory are its own, and a subject that fails
is named and leaves the others alone. It takes minutes (docs/performance.md).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from common.json_files import read_json
from launch.bench.subjects import Subject, read_flags, write_report
from launch.snr import child_words

PACKAGES = ("jax", "jaxlib", "flax", "numpy")


def run_all(argv: Sequence[str], subjects: Mapping[str, Subject], machine: str) -> int:
    """Runs the subjects, prints a table of their figures, and writes --out; returns the exit code.

    machine: one line, for the report
    1 where a subject has failed. Raises InputError, before measuring, for a bad --out.
    """
    _, out = read_flags((), argv, str(__doc__))
    report: dict[str, Any] = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "versions": {name: version(name) for name in PACKAGES},
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
    print(f"\n{report['machine']}, {report['date']}, {report['seconds']:.0f} s in all")
    print_figures(report["subjects"])
    return 1 if any("error" in result for result in report["subjects"].values()) else 0


def run_alone(subject: str, words: Sequence[str]) -> dict[str, Any]:
    """Runs one subject in a process of its own; what it prints is passed on.

    Returns arguments, seconds, and report, or error: one line.
    """
    with tempfile.TemporaryDirectory() as folder:
        file, log = Path(folder) / "report.json", Path(folder) / "errors.txt"
        result = Alone(subject, words, file, log).wait()
        print(log.read_text(), file=sys.stderr, end="", flush=True)
    return result


class Alone:
    """A subject on its way in a process of its own.

    file: of its report; log: what it prints to stderr, with `quiet` all that it prints
    environment: variables that it has beside ours
    """

    def __init__(
        self,
        subject: str,
        words: Sequence[str],
        file: Path,
        log: Path,
        *,
        quiet: bool = False,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._words, self._file, self._log = list(words), file, log
        self._start = time.perf_counter()
        with log.open("wb") as printed:
            self._process = subprocess.Popen(
                child_words("bench", [subject, *words, f"--out={file}"]),
                stdout=printed if quiet else None, stderr=printed,
                env={**os.environ, **environment},
            )  # fmt: skip

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.perf_counter() - self._start

    def wait(self) -> dict[str, Any]:
        """What `run_alone` returns, when it has ended."""
        self._process.wait()
        return self._read()

    def poll(self) -> dict[str, Any] | None:
        """The same, or None while it has not ended."""
        return None if self._process.poll() is None else self._read()

    def end(self, why: str) -> dict[str, Any]:
        """Kills it. Returns the same with that as the error."""
        self._process.kill()
        self._process.wait()
        return self._describe() | {"error": why}

    def _read(self) -> dict[str, Any]:
        code = self._process.returncode
        if code == 0:
            return self._describe() | {"report": read_json(self._file, "run that subject alone")}
        printed = self._log.read_text(encoding="utf-8", errors="replace")
        last = printed.strip().rpartition("\n")[2] or "no message"
        return self._describe() | {"error": f"exit code {code}: {last.removeprefix('error: ')}"}

    def _describe(self) -> dict[str, Any]:
        return {"arguments": self._words, "seconds": self.seconds}


def print_figures(results: Mapping[str, Mapping[str, Any]]) -> None:
    """A table of the figures of subjects. results: name -> what `run_alone` returns"""
    lines = [("subject", "figure", "value")]
    for subject, result in results.items():
        if "error" in result:
            lines.append((subject, "failed", result["error"]))
            continue
        for figure, value in result["report"]["summary"].items():
            lines.append((subject, figure, _format(value)))
    widths = [max(len(line[column]) for line in lines) for column in (0, 1)]
    for subject, figure, value in lines:
        print(f"{subject:{widths[0]}}  {figure:{widths[1]}}  {value}")


def _format(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
