"""All that an accelerator has to be asked, by one command for a bare machine.

    python -m launch.bench device --out=DIR [--minutes=8] [--bounds=FILE.json] [--cases=lcr,gensr]
                                  [--data=DIR] [--small]

The cases are subjects of this benchmark with fixed arguments: the steps of LCR and GenSR with their
kernels, the exact softmax over a million items, the trainer's own loop with its levers, the ranking
of a catalogue, and GenSR beside PyTorch where that is installed. Each runs in a process of its own.
They compile side by side and time one at a time. After each, DIR has its report (NAME.json), what
it printed (NAME.txt), and summary.json, in which the most important figures stand first.

A case that fails, that takes more than --limit seconds, or that times for more than --turn seconds,
is named and leaves the others alone. When the minutes are over no case starts and what still runs
is ended. Before each stands how long its programs took to compile ahead on a CPU; one that would
not be compiled in the time that is left is left out. --bounds gives newer times, from
`python -m launch.bench compile --for=h100 --out=FILE.json`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.files import make_folder, take_folder, write_beside
from common.settings.fields import setting
from launch.bench.all_subjects import PACKAGES, Alone, print_figures
from launch.bench.device_cases import Case, choose_cases, read_bounds
from launch.bench.subjects import read_flags
from launch.bench.turns import LONGEST, TURN
from launch.command import ending_on_sigterm

_PAUSE = 0.1  # seconds between two looks at the processes
# With tiny sizes nearly all of the time is the compiler's.
_CHEAP = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@dataclass(frozen=True)
class Flags:
    """What is measured, and for how long."""

    minutes: int = setting(8, "when they are over, no case starts and what runs is ended", least=1)
    limit: int = setting(300, "seconds of a case, its wait for the device with them", least=1)
    turn: int = setting(180, "seconds that a case may time for", least=1)
    processes: int = setting(0, "cases at once; 0 = one for two cores", least=0)
    bounds: str = setting("", "report of `bench compile`, for the times before each case")
    cases: str = setting("", "names with commas; all of them without")
    data: str = setting("", "dataset folder for the trainer's loop; else a synthetic one")
    small: bool = setting(False, "tiny sizes, to try the command on a CPU")


def run_device(argv: Sequence[str], machine: str) -> int:
    """Runs the cases, writes after each, and prints a table; returns the exit code.

    machine: one line, for the summary
    1 where a case has failed. Raises InputError, before measuring, for bad flags.
    """
    (flags,), out = read_flags((Flags(),), argv, str(__doc__), _check_folder)
    assert out is not None
    cases, bounds = choose_cases(flags.cases), read_bounds(flags.bounds)
    make_folder(out)
    session = _Session(flags, cases, dict(bounds), out, machine)
    print(machine)
    with ending_on_sigterm():
        session.run()
    print(f"\n{machine}, {session.seconds:.0f} s in all, figures in {out / 'summary.json'}")
    print_figures(session.results)
    for name, why in session.left_out.items():
        print(f"{name}: left out: {why}")
    return 1 if any("error" in result for result in session.results.values()) else 0


def _check_folder(out: str | None) -> Path:
    if out is None:
        raise InputError("--out=DIR: is missing; give a folder for the figures")
    return take_folder(out, "out")


class _Session:
    """The cases on their way, and what has come of them."""

    def __init__(
        self,
        flags: Flags,
        cases: Sequence[Case],
        bounds: dict[str, float],
        out: Path,
        machine: str,
    ) -> None:
        self._flags, self._cases, self._bounds, self._out = flags, cases, bounds, out
        self._start = time.perf_counter()
        self._about = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine,
            "versions": {name: version(name) for name in PACKAGES},
        }
        self.results: dict[str, dict[str, Any]] = {}  # in the order of the cases
        self.left_out: dict[str, str] = {}

    @property
    def seconds(self) -> float:
        """Since the command began."""
        return time.perf_counter() - self._start

    def run(self) -> None:
        """Runs all cases. Raises KeyboardInterrupt where a signal has stopped it."""
        at_once = self._flags.processes or max(1, (os.cpu_count() or 1) // 2)
        waiting, running = list(self._cases), dict[Case, Alone]()
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    case = waiting.pop(0)
                    if why := self._find_obstacle(case):
                        self._leave_out(case, why)
                    else:
                        running[case] = self._begin(case)
                for case, alone in list(running.items()):
                    if result := alone.poll() or self._end_late(alone):
                        del running[case]
                        self._keep(case, result)
                time.sleep(_PAUSE)
        finally:
            for alone in running.values():
                alone.end("stopped")

    def _find_obstacle(self, case: Case) -> str:
        """Why a case cannot start now; "" where it can."""
        left = 60 * self._flags.minutes - self.seconds
        bound = case.bound(self._bounds) if not self._flags.small else None
        if case.missing:
            return f"{' and '.join(case.missing)} not installed"
        if left <= 0:
            return f"the {self._flags.minutes} minutes are over"
        if bound is not None and bound > left:
            return f"compiles for about {bound:.0f} s, {left:.0f} s are left"
        return ""

    def _begin(self, case: Case) -> Alone:
        words = case.small if self._flags.small else case.words
        if self._flags.data and case.subject == "levers":
            words = (*words, f"--data={self._flags.data}")
        bound = case.bound(self._bounds)
        if self._flags.small or bound is None:
            told = "no bound of its compiling is known"
        else:
            parts = [f"{n} {self._bounds.get(n, 0.0) or '?'}" for n in case.programs]
            told = f"compiles ahead on a CPU in {bound:.0f} s ({', '.join(parts)})"
        print(f"{self.seconds:6.1f} s  {case.name} begins: {told}", flush=True)
        environment = {
            TURN: str(self._out / "turn"),
            LONGEST: str(self._flags.turn),
            # Side by side none may take the device's memory before its turn.
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        if self._flags.small:
            environment["XLA_FLAGS"] = f"{_CHEAP} {os.environ.get('XLA_FLAGS', '')}".strip()
        file, log = (self._out / f"{case.name}.{ending}" for ending in ("json", "txt"))
        return Alone(case.subject, words, file, log, quiet=True, environment=environment)

    def _end_late(self, alone: Alone) -> dict[str, Any] | None:
        """The result of a case that had to be ended; None where it may go on."""
        if alone.seconds > self._flags.limit:
            return alone.end(f"took more than {self._flags.limit} s (--limit)")
        if self.seconds > 60 * self._flags.minutes:
            return alone.end(f"not done when the {self._flags.minutes} minutes were over")
        return None

    def _keep(self, case: Case, result: dict[str, Any]) -> None:
        if result.get("error", "").startswith(f"exit code {-signal.SIGALRM}:"):
            result["error"] = f"timed for more than {self._flags.turn} s (--turn)"
        self.results[case.name] = result
        order = [case.name for case in self._cases]
        self.results = dict(sorted(self.results.items(), key=lambda one: order.index(one[0])))
        what = result.get("error", "done")
        print(f"{self.seconds:6.1f} s  {case.name}: {what}", flush=True)
        self._write()

    def _leave_out(self, case: Case, why: str) -> None:
        self.left_out[case.name] = why
        print(f"{self.seconds:6.1f} s  {case.name}: left out: {why}", flush=True)
        self._write()

    def _write(self) -> None:
        """Writes summary.json: figures first, then what is missing, then the rest."""
        done = {name: one["report"] for name, one in self.results.items() if "report" in one}
        summary = {
            "figures": {
                f"{name}: {figure}": value
                for name, report in done.items()
                for figure, value in report["summary"].items()
            },
            "failed": {n: one["error"] for n, one in self.results.items() if "error" in one},
            "left_out": self.left_out,
            **self._about,
            "device": next((report["device"] for report in done.values()), None),
            "seconds": self.seconds,
            "cases": {
                name: {key: one[key] for key in ("arguments", "seconds")}
                for name, one in self.results.items()
            },
        }
        write_beside(self._out / "summary.json", json.dumps(summary, indent=1) + "\n")
