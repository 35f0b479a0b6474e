"""Audits a dataset folder: does anything in it leak what is to be predicted?

    python -m launch.audit --data=DIR [--split=NAME] [--strict] [--verbose]

An echo is a leak that real logs have: a shop logs one click in the search that led to it (10:00)
and as an interaction (10:01). A history that gives the search its click at 10:00 knows the answer
of 10:01. So every click has a time of its own, a history shows it strictly after that, and a
target that is known through a click of its own time or later is a fault (F16). An item that was
truly taken or clicked before is a repeat: counted, and no fault.

Leaks that no rule of form can see (a text or column that names the answer, users under two ids, two
clocks, candidates drawn by a rule) are figures, compared with chance and with clean data: beyond
the one limit a person has to look, beyond the other it is a leak. docs/audit.md explains them all.

Prints a report for each split: what the data are, what is wrong or has to be looked at and what to
do, the verdict; with --verbose every figure. Exit codes: 0 clean or to be looked at, 1 a leak, a
broken split or list, or a changed file (the rows are named), with --strict also where something is
to be looked at; 2 bad input.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from common.errors import InputError
from common.printable import printable
from launch.command import parse_flags, run_command


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    values = flags.FlagValues()
    flags.DEFINE_string("data", None, "dataset folder", flag_values=values)
    flags.DEFINE_string("split", None, "one split; default: all of them", flag_values=values)
    flags.DEFINE_bool("strict", False, "exit 1 also where a person has to look", flag_values=values)
    flags.DEFINE_bool("verbose", False, "print every figure", flag_values=values)
    parse_flags(values, argv, __doc__)
    if not values.data:
        raise InputError("--data: missing; give a dataset folder")

    from common.data.audit import audit_dataset, format_report  # --help need not wait for these
    from common.data.folder import load_dataset
    from common.data.loading import read_manifest

    folder = Path(values.data)
    splits = [values.split] if values.split else list(read_manifest(folder)["splits"])
    clean = True
    for split in splits:
        # Loaded as it is: a fault that stops a training run is what the report is about.
        report = audit_dataset(load_dataset(folder, split, verify=False))
        print(printable(format_report(report, values.verbose)))
        clean &= not report.faults and not (values.strict and report.looks)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
