"""What a waiting person sees: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

from common.training.processes import is_first

PLAIN_EVERY = 10.0  # seconds between two plain lines


class ProgressBar:
    """Shows a stage's steps, examples/s, time left, loss and last validation metric."""

    def __init__(
        self, stage: str, total: int, start: int, show: bool = True, stream: TextIO | None = None
    ) -> None:
        """Starts at step `start` of `total`; shows nothing if `show` is false or on process > 0."""
        self._stream = sys.stderr if stream is None else stream
        self._stage, self._total, self._step = stage, total, start
        self._first: tuple[int, float] | None = None  # the first step that was done, and when
        self._notes: dict[str, str] = {}
        self._show = show and is_first()
        self._bar: Any = None
        self._printed = time.monotonic()
        if self._show and self._stream.isatty():
            self._bar = tqdm(
                total=total,
                initial=start,
                desc=stage,
                unit="step",
                file=self._stream,
                dynamic_ncols=True,
            )

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, step: int, loss: float, examples_per_second: float) -> None:
        """Reports that `step` steps are finished."""
        self._notes["loss"] = f"{loss:.4f}"
        self._notes["examples/s"] = f"{examples_per_second:,.0f}"
        if self._bar is not None:
            self._bar.set_postfix(self._notes, refresh=False)
            self._bar.update(step - self._step)
        self._step = step
        if self._first is None:
            self._first = (step, time.monotonic())
        if self._bar is None and time.monotonic() - self._printed >= PLAIN_EVERY:
            self._print_line()

    def note(self, name: str, value: float) -> None:
        """Shows a validation metric from now on."""
        self._notes[name] = f"{value:.4f}"
        if self._bar is not None:
            self._bar.set_postfix(self._notes)
        else:
            self._print_line()

    def _print_line(self) -> None:
        if not self._show:
            return
        self._printed = time.monotonic()
        notes = "  ".join(f"{name} {value}" for name, value in self._notes.items())
        print(
            f"{self._stage}  step {self._step}/{self._total}  {notes}  left {self._time_left()}",
            file=self._stream,
            flush=True,
        )

    def _time_left(self) -> str:
        """From the speed after the first step, which compiles."""
        if self._first is None or self._step == self._first[0]:
            return "? (compiling)"
        step, begun = self._first
        seconds = (time.monotonic() - begun) / (self._step - step) * (self._total - self._step)
        return str(tqdm.format_interval(seconds))
