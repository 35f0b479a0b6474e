"""Ctrl-C and SIGTERM as a wish to stop: the loop saves at the next step border and leaves."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import jax
import numpy as np


@dataclass
class Caught:
    """The signal that came, if one did."""

    number: int = 0

    def read(self, step: int, every: int) -> str | None:
        """The signal's name, the same on all processes at the same step, or None.

        With several processes they ask each other every `every` steps; a process that left alone
        would make the others wait for it for ever.
        """
        number = self.number
        if jax.process_count() > 1:
            if step % every:
                return None
            from jax.experimental import multihost_utils  # slow to import, rarely needed

            number = int(np.max(multihost_utils.process_allgather(np.int32(number))))
        return signal.Signals(number).name if number else None


@contextmanager
def catch_signals() -> Iterator[Caught]:
    """Catches SIGINT and SIGTERM inside the block; a second Ctrl-C raises KeyboardInterrupt.

    Outside the main thread Python allows no handlers; there the block catches nothing.
    """
    caught = Caught()
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and caught.number:
            raise KeyboardInterrupt
        caught.number = number

    before: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, handle)
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
