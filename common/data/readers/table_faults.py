"""What is wrong with a folder of tables, all of it: one run of the command is enough to mend it.

Readers tell every fault and go on with a stand-in; whoever needs whole tables calls `stop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from common.bounds import MOST_COLUMNS
from common.errors import InputError

SHOWN = 5  # rows of one fault that are named
_WIDTH = 40


@dataclass
class Faults:
    """The faults of all tables, one line each."""

    lines: list[str] = field(default_factory=list)

    def tell(self, line: str) -> None:
        """Adds a line of the form "where: what; remedy"."""
        if line not in self.lines:
            self.lines.append(line)

    def stop(self, raw: Path) -> None:
        """Raises one InputError with all lines, if there are any.

        raw: the folder of the tables, which the head of several lines names
        """
        if len(self.lines) == 1:
            raise InputError(self.lines[0])
        if self.lines:
            head = f"{raw}: {len(self.lines)} faults; mend them, then start the same command again"
            raise InputError("\n  ".join([head, *self.lines]))


def show_value(value: object) -> str:
    """A value as it stands in a message: on one line, short, without control characters."""
    text = repr(value)
    return text if len(text) <= _WIDTH else text[: _WIDTH - 3] + "..."


def show_id(text: str) -> str:
    """An id as it stands in a sentence: as `show_value`, without quotes where it needs none."""
    shown = show_value(text)
    return text if shown == f"'{text}'" else shown


def show_names(names: Sequence[str], width: int = 80) -> str:
    """Column or file names, separated by commas, cut after `width` characters."""
    text = " ".join(", ".join(name or "(unnamed)" for name in names[:width]).split())[:width]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def count_rows(count: int, unit: str, examples: Sequence[str]) -> str:
    """The end of a line about more than one row, e.g. " (7 rows: 2 'x', 3 'y' ...)"."""
    if count < 2 and unit == "rows":
        return ""
    more = " ..." if count > len(examples) else ""
    return f" ({count:,} {unit}: {', '.join(examples)}{more})"


def tell_wide(path: Path, columns: int, faults: Faults) -> None:
    """Tells of a table with more columns than are read."""
    faults.tell(f"{path}: has {columns:,} columns, more than {MOST_COLUMNS:,}; leave others out")
