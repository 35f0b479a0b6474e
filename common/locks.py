"""One writer per folder: a lock that ends with its process. Source: ours.

The operating system holds the lock (`flock`) and lets go of it when the process ends, however it
ends: a lock is never left behind, only the file that says who had it. That file is read to tell
who is at work, or who was killed there.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import InputError, writing

if sys.platform != "win32":  # there nobody is kept out
    import fcntl

_TRIES = 100  # how often the file may vanish between opening and locking it


@contextmanager
def only_writer(
    path: Path, what: str, mend: str, *, say: Callable[[str], None] = lambda line: None
) -> Iterator[None]:
    """Inside the block no other process holds the lock at `path`; a file of some bytes.

    what: the folder that it guards; mend: what else to do than wait
    say:  told who was killed while holding it
    Raises InputError naming the process that holds it, WriteError where no file can be made.
    On a file system that has no locks nobody is kept out.
    """
    handle = _take(path, what, mend, say)
    try:
        yield
    finally:
        with suppress(OSError):  # a folder that has vanished
            path.unlink()
        os.close(handle)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Inside the block no other process is inside of one for the same path; waits for those.

    The file stays. Raises WriteError where there can be none.
    """
    with writing(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if sys.platform != "win32":
            with suppress(OSError):  # a file system that has no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _take(path: Path, what: str, mend: str, say: Callable[[str], None]) -> int:
    for _ in range(_TRIES):
        with writing(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _lock(handle):
                raise InputError(
                    f"{what}: {_read(handle) or 'another process'} is at work there; wait until it "
                    f"has ended, or {mend}"
                )
            if _is_same(handle, path):  # else its holder has just unlinked it
                if before := _read(handle):
                    say(f"{what}: {before} was killed there; taken over")
                with suppress(OSError):  # a full disk: it is locked all the same
                    _write(handle)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    raise InputError(f"{what}: other processes come and go there; {mend}")


def _lock(handle: int) -> bool:
    if sys.platform == "win32":
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _read(handle: int) -> str:
    """ "process 17 on host", of the file's holder; "" where nothing is written yet."""
    try:
        holder = json.loads(os.pread(handle, 4096, 0))
        return f"process {int(holder['pid'])} on {str(holder['host'])[:80]}"
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _write(handle: int) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, json.dumps({"host": socket.gethostname(), "pid": os.getpid()}).encode(), 0)
