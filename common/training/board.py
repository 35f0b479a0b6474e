"""TensorBoard's curves of a run, written step by step with the run itself.

tensorboardX's own `SummaryWriter` hands events to a thread through a queue of ten. When a full disk
ends that thread, the queue fills and the run waits for ever; so this writes without either.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import writing

FLUSH_SECONDS = 30  # a flush waits for the disk


class Board:
    """One event file in a folder."""

    def __init__(self, folder: Path, step: int) -> None:
        """Opens a new file, in which later events than `step` of older files are hidden.

        Raises ImportError without tensorboardX, WriteError.
        """
        from tensorboardX import event_file_writer, summary
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event, self._scalar, self._folder = Event, summary.scalar, folder
        self._flushed = time.monotonic()
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._writer: Any = event_file_writer.EventsWriter(str(folder / "events"))
            started = SessionLog(status=SessionLog.START)
            opening = Event(wall_time=time.time(), step=step + 1, session_log=started)
            self._writer.write_event(opening)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Writes one point of each curve. Raises WriteError."""
        now = time.time()
        with writing(self._folder):
            for name, value in values.items():
                summary = self._scalar(f"{kind}/{name}", value)
                self._writer.write_event(self._event(wall_time=now, step=step, summary=summary))
            if time.monotonic() > self._flushed + FLUSH_SECONDS:
                self._flushed = time.monotonic()
                self._writer.flush()

    def close(self) -> None:
        """Raises WriteError."""
        with writing(self._folder):
            self._writer.close()


def open_board(folder: Path, step: int) -> Board | None:
    """As `Board`, or None without tensorboardX, which is told in one line."""
    try:
        return Board(folder, step)
    except ImportError:
        print(
            "tensorboardX is not installed: no TensorBoard files, metrics.jsonl has everything; "
            "pip install 'snr-jax[board]'",
            file=sys.stderr,
        )
        return None
