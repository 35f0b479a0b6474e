"""`snr COMMAND ...`: the commands of an installed package, from any folder.

`snr main ...` is `python -m launch.main ...`, with one difference: `python -m` looks into the
working directory first and so may find another `launch.py` there; `snr` does not.
"""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from launch import _say_interrupted

COMMANDS = ("prepare", "audit", "main", "sweep", "compare", "study", "bench", "soak", "settings")
_HERE = Path(__file__).parent


def main() -> int:
    """Runs the command that the first word names, or lists all; returns the exit code.

    The command's module is run as `python -m` does, and ends with SystemExit as it does there.
    """
    sys.excepthook = _say_interrupted  # for Ctrl-C before the command catches it itself
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        runpy.run_module(f"launch.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
        return 0
    from launch.command import run_command

    return run_command(list_commands, sys.argv[1:])


def list_commands(argv: Sequence[str]) -> int:
    """Prints the commands; returns the exit code. Raises InputError for a word that is none."""
    from common.errors import InputError

    word = argv[0] if argv else "help"
    if word.lstrip("-") not in ("h", "help"):
        near = difflib.get_close_matches(word, COMMANDS, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(COMMANDS)}"
        raise InputError(f"command {word[:40]!r}: unknown; {hint}")
    print("snr COMMAND ...   as python -m launch.COMMAND ...; snr COMMAND --help shows the form\n")
    for name in COMMANDS:
        print(f"  {name:8}  {describe(name)}")
    return 0


def describe(name: str) -> str:
    """The first line of a command's docstring; its module is read and not imported, for speed."""
    path = _HERE / name / "__init__.py" if (_HERE / name).is_dir() else _HERE / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    return str(text).partition("\n")[0]


def child_words(name: str, words: Sequence[str]) -> list[str]:
    """The command line of a command in a process of its own that runs this very code.

    `python -m launch.main` would look into the working directory first, where another `launch.py`
    may lie (-P leaves that folder out), and then among what is installed, which may be another
    copy than the checkout that runs (so the folder of this one goes first).
    """
    root = str(_HERE.parent)
    start = (
        f"import sys; root = {root!r}; root in sys.path or sys.path.insert(0, root); "
        "from launch.snr import main; sys.exit(main())"
    )
    return [sys.executable, "-P", "-c", start, name, *words]
