"""What all commands share: flags without global state, one line per error, exit codes.

0 = done, 1 = the run itself failed, 2 = bad input (one line that says what to mend).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from absl import flags

from common.errors import InputError, WriteError


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


def run_command(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Runs a command's `main(argv)`; returns its exit code.

    Bad input becomes one line on stderr and 2; a number that is not finite, or a file that cannot
    be written, one line and 1.
    """
    try:
        return main(argv)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (FloatingPointError, WriteError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
