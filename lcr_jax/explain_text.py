"""What LCR relied on, as text of at most 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.printable import printable
from common.report.words import WIDTH, list_recommended, name_item, say_target, say_who, shorten


def format_explanation(explanation: Mapping[str, Any]) -> str:
    """What the model read, what it relied on, what it recommends; from the JSON content alone."""
    return printable("\n".join(line.rstrip() for line in _lines(explanation)) + "\n")


def _lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    searches = explanation["searches"]
    yield say_who(explanation)
    yield say_target(explanation, WIDTH)
    yield ""
    yield f"history: {len(explanation['history'])} event(s) that the model reads, oldest first"
    for event in explanation["history"]:
        yield f"  {event['time']:<16}  {shorten(name_item(event), WIDTH - 20)}"
    yield ""
    yield from (
        _search_lines(explanation)
        if searches
        else ["searches: none before this moment; the model has its history alone"]
    )
    yield ""
    yield from list_recommended(explanation)


def _search_lines(explanation: Mapping[str, Any]) -> Iterator[str]:
    """One line per search, newest first, as in the picture."""
    steps, searches = explanation["steps"], explanation["searches"]
    made_up = " (queries made from item data)" if searches[0]["query_made_up"] else ""
    yield f"searches and their evidence per reasoning step, newest first{made_up}"
    shown = min(steps, 6)  # of more steps, the first ones; the JSON has all
    columns = "".join(f"{f'r{k + 1}':>6}" for k in range(shown)) + f"{'mean':>7}"
    room = WIDTH - len(columns) - 9
    yield f"  {'age':<6} {'query  > clicked':<{room}}{columns}"
    for search in reversed(searches):
        clicked = ", ".join(name_item(item) for item in search["clicked"])
        label = search["query"]
        if clicked:
            label = f"{shorten(label, room * 3 // 5)}  > {clicked}"
        yield f"  {search['age']:<6} {shorten(label, room - 1):<{room}}" + _weights(search, shown)
    null = "(null event: nothing useful)"
    yield f"  {'':<6} {null:<{room}}" + _weights(explanation["null_event"], shown)
    if not steps:
        yield "  no reasoning steps (K = 0): evidence is uniform and says nothing"
        return
    yield "  gate means    " + "".join(f"{gate:>7.3f}" for gate in explanation["gates"])
    yield "  state norms   " + "".join(f"{norm:>7.2f}" for norm in explanation["state_norms"])


def _weights(entry: Mapping[str, Any], shown: int) -> str:
    evidence = entry["evidence"]
    steps = "".join(f"{weight:>6.2f}" for weight in evidence["steps"][:shown])
    return steps + f"{evidence['mean']:>7.3f}"
