"""What all commands share: flags without global state, one line per error, exit codes.

0 = done, 1 = the run itself failed, 2 = bad input (one line that says what to mend), 130 and 143 =
stopped by Ctrl-C or SIGTERM, 141 = nobody reads what is printed any more (`... | head -1`).
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from absl import flags

from common.errors import MEND, InputError, WriteError, say_reason
from common.printable import printable


def parse_flags(
    values: flags.FlagValues, argv: Sequence[str], usage: str, positional: int = 0
) -> list[str]:
    """Parses the words after the program's name into `values`; returns the positional ones.

    Raises InputError for an unknown flag, a bad value or a wrong number of positional words;
    SystemExit(0) after `--help`, which prints `usage` (a docstring) and the flags.
    """
    if any(word in ("-h", "--help", "-help", "--helpfull") for word in argv):
        print(f"{usage.strip()}\n\nflags:\n{values.main_module_help() or values.get_help()}")
        raise SystemExit(0)
    try:
        rest = values(["command", *argv])[1:]
    except flags.Error as error:
        raise InputError(" ".join(str(error).split()) + "; --help lists the flags") from None
    if len(rest) != positional:
        what = f"{' '.join(rest)!r} is no flag" if rest else "a word is missing"
        raise InputError(f"command line: {what}; --help shows the form")
    return rest


_CLOSED_PIPE = 141  # 128 + SIGPIPE, which Windows has no name for


class Terminated(KeyboardInterrupt):
    """SIGTERM came; raised inside `ending_on_sigterm`."""


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Inside the block SIGTERM unwinds the program as Ctrl-C does, so that it can tidy up.

    Outside the main thread Python allows no handlers; there the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_command(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Runs a command's `main(argv)`; returns its exit code.

    Bad input becomes one line on stderr and 2; a number that is not finite, or a file that cannot
    be written, one line and 1; Ctrl-C one line and 130. Characters that a terminal does not have
    are printed as "\\u4e2d" and the like.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _run(main, argv)
    except BrokenPipeError:
        _print_nowhere(1, 2)
        return _CLOSED_PIPE


def _run(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    try:
        try:
            code = main(argv)
        except SystemExit:
            sys.stdout.flush()  # as below, after --help
            raise
        sys.stdout.flush()  # here, where a reader that has left, or a full disk, can be told
        return code
    except InputError as error:
        return _fail(error, 2)
    except (FloatingPointError, WriteError) as error:
        return _fail(error, 1)
    except Terminated:
        return _fail("stopped by SIGTERM", 128 + signal.SIGTERM)
    except KeyboardInterrupt:
        return _fail("stopped by Ctrl-C", 128 + signal.SIGINT)
    except OSError as error:
        # A folder that may not be read, a full disk: the system's to mend, and no fault of ours.
        if isinstance(error, BrokenPipeError):
            raise
        if isinstance(error, FileNotFoundError) and error.errno is None:  # pyarrow's
            return _fail(f"{error}: {os.strerror(errno.ENOENT)}; {MEND}", 1)
        if error.errno is None:
            raise
        if error.filename is None:
            _print_nowhere(1)
        where = error.filename or "what is printed or written"
        return _fail(f"{where}: {say_reason(error)}; {MEND}", 1)


def _fail(error: object, code: int) -> int:
    print(f"error: {printable(str(error))}", file=sys.stderr)
    return code


def _print_nowhere(*numbers: int) -> None:
    """What could not be printed is not tried again when Python ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in numbers:
        os.dup2(nowhere, number)
    os.close(nowhere)
