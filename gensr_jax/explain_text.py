"""What GenSR's soft filter did, as text of at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.printable import printable
from common.report.words import (
    WIDTH,
    list_recommended,
    name_item,
    say_target,
    say_who,
    shorten,
)

VIEWS = {"cf": "collaborative", "semantic": "semantic"}
_CELL = 5


def format_filter(explanation: Mapping[str, Any]) -> str:
    """What each candidate took from the history, what is recommended; from the JSON alone."""
    return printable("\n".join(line.rstrip() for line in _lines(explanation)) + "\n")


def label_candidates(explanation: Mapping[str, Any]) -> list[str]:
    """ "T" for the target and "#1" for the best item of the ranking, in the order of columns."""
    return [
        "T" if item["role"] == "target" else f"#{item['rank']}"
        for item in explanation["candidates"]
    ]


def _lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    yield f"{say_who(explanation)}  task {explanation['task']}"
    yield say_target(explanation, WIDTH)
    if explanation["query"] is not None:
        yield f"query: {shorten(explanation['query'], WIDTH - 7)}"
    yield _say_found(explanation)
    yield ""
    labels, views = label_candidates(explanation), explanation["views"]
    yield "what each candidate takes from the history, in percent of its view; newest first"
    for label, item in zip(labels, explanation["candidates"], strict=True):
        role = "the target" if item["role"] == "target" else "recommended"
        yield f"  {label:<3} {role + ':':<12} {shorten(name_item(item), WIDTH - 20)}"
    width = _CELL * len(labels)
    room = WIDTH - (width + 3) * len(views) - 18
    head = "".join(f"   {VIEWS[view]:>{width}}" for view in views)
    yield f"  {'':<7}{'':<8}{'':<{room}}{head}"
    cells = "".join(f"{label:>{_CELL}}" for label in labels)
    yield f"  {'age':<7}{'from':<8}{'item':<{room}}" + f"   {cells}" * len(views)
    rows = [*explanation["history"], {**explanation["no_history"], "age": "", "service": ""}]
    for entry in rows:
        name = name_item(entry) if "item" in entry else "(no history)"
        if entry.get("query"):
            name = f"{shorten(name, room * 3 // 5)} < {entry['query']}"
        shares = "".join(
            "   " + "".join(f"{100 * weight:>{_CELL}.0f}" for weight in entry["weights"][view])
            for view in views
        )
        name = shorten(name, room - 1)
        yield f"  {entry['age']:<7}{entry['service']:<8}{name:<{room}}{shares}"
    if any(entry["service"] == "search" for entry in rows):
        yield "  (item < query: clicked in a search)"
    if not explanation["history"]:
        yield "  nothing was clicked before this moment"
    yield ""
    yield from list_recommended(explanation)


def _say_found(explanation: Mapping[str, Any]) -> str:
    """Who found the items, and where the target was among them."""
    found, target = explanation["found"], explanation["target"]
    start = f"found: {found['count']:,} items by {found['by']}"
    if target is None:
        return start
    if target["found"]:
        return f"{start}; the target is among them, at place {target['found_rank']:,}"
    return f"{start}; the target is not among them, it has place {target['found_rank']:,}"
