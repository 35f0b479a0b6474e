"""Writes the page of all settings: docs/settings.md.

python -m launch.settings --out=docs/settings.md
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from common.errors import InputError
from common.files import write_beside
from common.runs.methods import PLACES, find_method
from common.settings.pages import format_page
from launch.command import parse_flags, run_command


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError, WriteError."""
    values = flags.FlagValues()
    flags.DEFINE_string("out", None, "the file, such as docs/settings.md", flag_values=values)
    parse_flags(values, argv, __doc__)
    if not values.out:
        raise InputError("--out: missing; give a file, such as docs/settings.md")
    write_beside(Path(values.out), format_page({n: find_method(n).settings for n in PLACES}))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
