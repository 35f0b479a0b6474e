"""The two errors that a user can mend; their one line says how."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEND = "mend that, then start the same command again"
# The path itself is wrong, such as one below a file: no room and no permission would help.
_NO_PLACE = (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL)


class InputError(Exception):
    """Bad input: one line of the form "where: what; remedy"; of tables with several faults a head
    and one such line for each.

    `where` names the file, row, column or config key. Commands print the line without a stack
    trace and exit with code 2; anything else that is raised is a fault of the program.
    """


class WriteError(Exception):
    """A file could not be written: a full or read-only disk, no permission, a folder that has gone.

    One line, as InputError's. The command was right and may be repeated, so commands exit with
    code 1.
    """


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Inside the block, what the operating system refuses is told as `refused` does."""
    try:
        yield
    except OSError as error:
        raise refused(path, error) from error


def refused(
    path: Path, error: OSError, elsewhere: str = "another place"
) -> InputError | WriteError:
    """The error for a file or folder that the operating system does not let us write.

    elsewhere: what the line advises where nothing can ever be written at `path`
    InputError where the path itself is wrong, such as one below a file or with a name too long;
    WriteError for all that can be mended: no room (ENOSPC, EDQUOT), a read-only disk (EROFS), no
    permission (EACCES, EPERM), a folder that has gone (ENOENT, ESTALE), a broken disk (EIO).
    """
    what = f"{path}: cannot be written ({say_reason(error)})"
    if error.errno in _NO_PLACE:
        return InputError(f"{what}; use {elsewhere}")
    return WriteError(f"{what}; {MEND}")


def say_reason(error: OSError) -> str:
    """What the operating system said, in its own words; libraries add words of theirs."""
    return os.strerror(error.errno) if error.errno else error.strerror or str(error)
