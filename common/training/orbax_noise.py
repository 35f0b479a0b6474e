"""What Orbax and TensorStore print about a save that failed, beside raising its error.

A full disk ended a run with one right line among a hundred tracebacks. Source: ours.
"""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

_CLOSED = "Event loop is closed"


def silence_orbax() -> None:
    """Keeps off the screen, from now on, what the error of the save says already.

    - the stack that Orbax logs before it raises;
    - that a save waits for the one before it, which it does by design;
    - the other files of the same save, which end after Orbax has closed its event loop, or never
      begin, and whose errors nobody asks for.
    Everything else is shown as before.
    """
    for name, is_new in (("absl", _is_not_raised_too), ("asyncio", _is_not_a_file_of_the_save)):
        logging.getLogger(name).addFilter(is_new)  # the same one again is not added
    warnings.filterwarnings("ignore", "coroutine 'async_serialize", RuntimeWarning)
    if not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook(sys.unraisablehook)


class _Hook:
    """A hook for exceptions that nobody can catch, in front of the one that was there."""

    def __init__(self, before: Any) -> None:
        self._before = before

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if isinstance(error, RuntimeError) and str(error) == _CLOSED and unraisable.object is None:
            return  # TensorStore's own threads: of Python's objects something would be named
        self._before(unraisable)


def _is_not_raised_too(record: logging.LogRecord) -> bool:
    return "orbax" not in record.pathname or not (
        record.exc_info or record.getMessage().startswith("Waiting for previous save")
    )


def _is_not_a_file_of_the_save(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    # TensorStore says a full disk as an OSError or as a ValueError.
    return not (
        isinstance(error, OSError | ValueError) and "never retrieved" in record.getMessage()
    )
