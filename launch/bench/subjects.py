"""What a subject of the benchmark is, and what all have in common: flags, printing, --out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from common.errors import MEND, InputError, WriteError
from common.files import write_beside
from common.settings.fields import Setting, list_settings
from launch.bench.machine import describe_software, measure_memory, print_memory, print_software
from launch.command import parse_flags

Report = dict[str, Any]  # JSON-able


class Subject(NamedTuple):
    """One thing that is measured."""

    doc: str  # what --help prints above the flags
    # flags() -> groups of settings, each of which is a flag. A call: a method's import jax
    flags: Callable[[], Sequence[Any]]
    # measure(*groups), with the values of the command line, -> what is reported beside them. In it
    # "summary" is what `--all` tells: {figure with its unit: number}
    measure: Callable[..., Report]
    tell: Callable[[Report], None]  # prints a report, which has the flags by their names too
    # Words for `--all`: a minute or two on 2 CPU cores; None = it is no part of it
    small: Sequence[str] | None


def run_subject(subject: Subject, argv: Sequence[str]) -> None:
    """Measures, prints, and writes the report as JSON where --out says so.

    Raises InputError for bad flags and for a file that cannot be written, before measuring.
    """
    groups, out = read_flags(subject.flags(), argv, subject.doc)
    asked = {flag_of(name): value for group in groups for name, value in vars(group).items()}
    report = asked | subject.measure(*groups)
    report |= {**describe_software(), "peak_memory": measure_memory()}
    print_software(report)
    subject.tell(report)
    print_memory(report)
    if out is not None:
        write_report(out, report)


def read_flags(
    groups: Sequence[Any],
    argv: Sequence[str],
    doc: str,
    check: Callable[[str | None], Path | None] | None = None,
) -> tuple[list[Any], Path | None]:
    """The groups of settings with the values of a command line, and the file of --out.

    check: of --out, None = `check_out`
    Raises InputError for a flag that there is not and for a value that may not be.
    """
    values = flags.FlagValues()
    settings = [list_settings(group) for group in groups]
    for known in settings:
        for setting in known.values():
            _define(values, setting)
    place = "JSON file for the figures" if check is None else "folder for the figures"
    flags.DEFINE_string("out", None, place, flag_values=values)
    parse_flags(values, argv, doc)
    filled = [
        replace(group, **{name: values[flag_of(name)].value for name in known})
        for group, known in zip(groups, settings, strict=True)
    ]
    return filled, (check or check_out)(values.out)


def flag_of(field: str) -> str:
    """The flag of a field: `for_` is --for, which no field can be called."""
    return field.removesuffix("_")


def _define(values: flags.FlagValues, setting: Setting) -> None:
    name, default, meaning = flag_of(setting.key), setting.default, setting.rule.meaning
    if setting.kind is bool:
        flags.DEFINE_bool(name, default, meaning, flag_values=values)
    elif setting.choices:
        flags.DEFINE_enum(name, default, setting.choices, meaning, flag_values=values)
    elif setting.kind is str:
        flags.DEFINE_string(name, default, meaning, flag_values=values)
    else:  # a flag of several numbers may be given several times
        define = flags.DEFINE_integer if setting.kind is int else flags.DEFINE_multi_integer
        define(name, default, meaning, lower_bound=setting.rule.least, flag_values=values)


def check_out(out: str | None) -> Path | None:
    """The file of --out, absolute. Raises InputError where there can be none, WriteError."""
    if out is None:
        return None
    path = Path(out).absolute()
    if not path.parent.is_dir():
        raise InputError(f"--out={out}: no such folder; make it first")
    if path.is_dir():
        raise InputError(f"--out={out}: is a folder; give a file in it")
    if not os.access(path.parent, os.W_OK):
        raise WriteError(
            f"--out={out}: cannot be written (no permission, or a read-only disk); {MEND}"
        )
    return path


def write_report(path: Path, report: Report) -> None:
    """Writes a report as JSON. Raises WriteError."""
    write_beside(path, json.dumps(report, indent=1) + "\n")
