"""Makes a dataset folder.

    python -m launch.prepare --source=synthetic --preset=demo --out=DIR
    python -m launch.prepare --source=tables --raw=DIR --out=DIR
    python -m launch.prepare --source=amazon_2014 --raw=DIR --category=Beauty --out=DIR

The folder appears when it is complete; after an error nothing is left behind. docs/your_data.md
shows the tables of your own data.

Prints what the data are, what is in order, what to look at and what to do; with --verbose every
figure. Exit codes: 0 done, 2 bad input.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from absl import flags

from common.data.options import check_options
from common.errors import InputError
from common.printable import printable
from launch.command import ending_on_sigterm, parse_flags, run_command


def main(argv: Sequence[str]) -> int:
    """Runs the command; returns the exit code. Raises InputError for bad input."""
    values = _define_flags()
    parse_flags(values, argv, __doc__)
    _check_flags(values)
    began = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - began:6.1f} s] {printable(line)}", flush=True)

    # Imported late: --help and bad flags need neither numpy nor pyarrow.
    from common.data.folder import PrepareSettings, check_place, load_dataset, write_dataset
    from common.data.readers.sources import SourceOptions, read_source
    from launch.prepare_report import format_report

    settings, out = PrepareSettings(**_take(values, PrepareSettings)), Path(values.out)
    check_place(out, settings.overwrite)  # before any work
    with ending_on_sigterm():
        source = read_source(SourceOptions(**_take(values, SourceOptions)), say=say)
        write_dataset(out, source, settings, say=say)
    say("reading it back")
    datasets = [load_dataset(out, split) for split in settings.splits]
    print(printable(format_report(datasets, values.verbose)))
    say("done")
    return 0


def _define_flags() -> flags.FlagValues:
    values = flags.FlagValues()

    def text(name: str, default: str | None, what: str) -> None:
        flags.DEFINE_string(name, default, what, flag_values=values)

    def choice(name: str, default: str | None, options: list[str], what: str) -> None:
        flags.DEFINE_enum(name, default, options, what, flag_values=values)

    def integer(name: str, default: int | None, what: str) -> None:
        flags.DEFINE_integer(name, default, what, flag_values=values)

    def switch(name: str, default: bool, what: str) -> None:
        flags.DEFINE_bool(name, default, what, flag_values=values)

    choice("source", None, ["synthetic", "tables", "amazon_2014"], "where the data come from")
    text("out", None, "the dataset folder to make")
    text("truth", None, "folder with the planted truth of --raw, see docs/data.md")
    text("raw", None, "folder of the raw files (tables, amazon_2014)")
    integer("seed", 0, "of the synthetic data, pseudo-queries and candidate lists")
    switch("overwrite", False, "replace the dataset folder --out")
    switch("verbose", False, "print every figure")

    choice("history_order", "time", ["time", "source"],
           "history = events of an earlier time, or also earlier ones of the same time in the "
           "order of the source")  # fmt: skip
    flags.DEFINE_list(
        "splits",
        ["leave_one_out_joint"],
        "of leave_one_out_joint, leave_one_out_per_task, global_time",
        flag_values=values,
    )
    integer("negatives", None, "per candidate list, 0 = no lists; default: what suits the source, "
            "else 99")  # fmt: skip
    integer("t1", None, "global_time: valid begins, ms UTC; default: after 80 % of the positives")
    integer("t2", None, "global_time: test begins, ms UTC; default: after 90 %")

    text("preset", "demo", "synthetic: tiny, demo or kuaisar_scale")
    flags.DEFINE_float(
        "click_window", 3600, "tables: an interaction this many seconds after a search, with the "
        "user and item of a click that has no time of its own, is that click", flag_values=values,
    )  # fmt: skip
    flags.DEFINE_list(
        "columns", [], "tables: other names of columns, such as user=user_id,searches.time=ts",
        flag_values=values,
    )  # fmt: skip
    text("list_separator", None, "tables: the sign between ids of a text list; default: blanks, |")
    switch("add_missing_items", False, "tables: add items that only events name, without texts")
    text("category", None, "amazon_2014: e.g. Beauty; default: the only one in --raw")
    text("order", None, "amazon_2014: file that orders the events of one day, one user a line")
    flags.DEFINE_float(
        "search_share", 1.0, "amazon_2014: purchases that are searches too", flag_values=values
    )
    choice("query_mode", "copy", ["copy", "move"],
           "amazon_2014: a purchase is also a search, or is a search instead")  # fmt: skip
    switch("letters_only", True, "amazon_2014: pseudo-queries without digits")
    switch("drop_root", False, "amazon_2014: pseudo-queries without the first category level")
    return values


def _check_flags(values: flags.FlagValues) -> None:
    for name in ("source", "out"):
        if not values[name].value:
            raise InputError(f"--{name}: missing; --help shows the form")
    given = {name: values[name].value for name in values if values[name].present}
    check_options(given, values.source)


def _take(values: flags.FlagValues, kind: Any) -> dict[str, Any]:
    """The values of the flags that are called as the fields of a dataclass."""
    names = [field.name for field in fields(kind) if field.name in values]
    found = {name: values[name].value for name in names}
    return {key: tuple(v) if isinstance(v, list) else v for key, v in found.items()}


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
