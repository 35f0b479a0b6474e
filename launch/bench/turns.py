"""Several benchmarks compile side by side, and each times alone: who may use the device now."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from functools import cache
from pathlib import Path

from common.locks import in_turn

TURN = "SNR_BENCH_TURN"  # environment: the file that the processes take turns by
LONGEST = "SNR_BENCH_LONGEST"  # environment: seconds that a turn may last


@cache
def take_turn() -> ExitStack | None:
    """Returns when no other benchmark is timing; from here on this process is the one that does.

    The turn ends with the process. One that lasts too long is ended by the alarm of the operating
    system, which also comes through where a program hangs. None where nobody else is at work.
    """
    path = os.environ.get(TURN)
    if path is None:
        return None
    held = ExitStack()
    held.enter_context(in_turn(Path(path)))
    if hasattr(signal, "alarm"):
        signal.alarm(int(os.environ.get(LONGEST, "0")))
    return held
