"""The two errors that a user can mend; their one line says how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEND = "mend that, then start the same command again"


class InputError(Exception):
    """Bad input: one line of the form "where: what; remedy"; of tables with several faults a head
    and one such line for each.

    `where` names the file, row, column or config key. Commands print the line without a stack
    trace and exit with code 2; anything else that is raised is a fault of the program.
    """


class WriteError(Exception):
    """A file could not be written, such as to a full disk: one line, as InputError's.

    The command was right and may be repeated, so commands exit with code 1.
    """


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside the block, what the operating system refuses is a WriteError that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise WriteError(f"{path}: cannot be written ({reason}); {MEND}") from error
