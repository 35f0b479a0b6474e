"""How fast training is: the time of the steps alone, and what the data cost of it."""

from __future__ import annotations

import time
from dataclasses import replace

from common.training.state import Progress


class Stopwatch:
    """Adds up training time between `start` and `pause`; outside of them it counts nothing.

    So compiling, evaluating and saving are left out, and the totals survive a restart.
    """

    def __init__(self, progress: Progress) -> None:
        self._seconds = progress.train_seconds
        self.wait_seconds = progress.wait_seconds
        self.examples = progress.timed_examples
        self._earlier = progress  # what the finished stages had does not count in this one's rates
        self._since: float | None = None  # None = not running

    @property
    def seconds(self) -> float:
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return self._seconds + running

    @property
    def examples_per_second(self) -> float:
        """Of this stage."""
        examples = self.examples - self._earlier.earlier_examples
        return measure_rate(examples, self.seconds - self._earlier.earlier_seconds)

    @property
    def wait_share(self) -> float:
        """Of this stage."""
        waited = self.wait_seconds - self._earlier.earlier_wait_seconds
        return measure_rate(waited, self.seconds - self._earlier.earlier_seconds)

    @property
    def running(self) -> bool:
        return self._since is not None

    def start(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> bool:
        """Stops counting; returns whether it was counting."""
        was_running = self._since is not None
        self._seconds = self.seconds
        self._since = None
        return was_running

    def book(self, progress: Progress) -> Progress:
        """The progress with this watch's totals in it."""
        return replace(
            progress,
            train_seconds=self.seconds,
            wait_seconds=self.wait_seconds,
            timed_examples=self.examples,
        )

    def count(self, examples: int) -> None:
        if self._since is not None:
            self.examples += examples

    def add_wait(self, seconds: float) -> None:
        if self._since is not None:
            self.wait_seconds += seconds


def measure_rate(amount: float, per: float) -> float:
    """amount / per, and 0 where nothing was measured yet."""
    return amount / per if per > 0 else 0.0
