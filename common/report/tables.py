"""Numbers as text: Markdown tables, bounds, ages and times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

_UNITS = (("y", 31_557_600_000), ("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000))


def format_markdown(
    head: Sequence[str], rows: Sequence[Sequence[str]], aligned: bool = False
) -> str:
    """A Markdown table; the first column is text, the others are numbers.

    aligned: fills cells with spaces, so that the text reads well in a terminal too
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    if aligned:
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        lines[1] = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [
            [line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])] for line in lines
        ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def format_bounds(entry: Mapping[str, Any] | None, digits: int = 4, sign: bool = False) -> str:
    """ "0.1390 [0.1284, 0.1519]" of {"value", "low", "high"}; "-" where there is no value."""
    if entry is None or entry["value"] is None:
        return "-"
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{entry['value']:{form}} [{entry['low']:{form}}, {entry['high']:{form}}]"


def format_age(milliseconds: int, resolution: str) -> str:
    """Whole units of the largest that fits, such as "3 d", and none finer than the data's."""
    units = _UNITS[:2] if resolution == "day" else _UNITS
    for unit, size in units:
        if milliseconds >= size:
            return f"{milliseconds // size} {unit}"
    return f"0 {units[-1][0]}"


def format_time(milliseconds: int, resolution: str) -> str:
    """UTC date, with the time of day unless the data knows days only."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%d}" if resolution == "day" else f"{moment:%Y-%m-%d %H:%M}"
