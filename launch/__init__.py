"""The commands. Everything below this package may be used without it."""

from __future__ import annotations

import os
import signal
import sys
from types import TracebackType


def _say_interrupted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    os.write(2, b"error: stopped by Ctrl-C\n")
    os._exit(128 + signal.SIGINT)


# Ctrl-C while a command is still importing: `launch.command.run_command` is not there yet. Python
# has this name for the program as long as it looks for the module of `python -m launch.COMMAND`.
if sys.argv[:1] == ["-m"]:
    sys.excepthook = _say_interrupted
