"""An explanation as text, at most 100 columns wide: what all have in common, and LCR's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.printable import printable

WIDTH = 100


def format_explanation(explanation: Mapping[str, Any]) -> str:
    """What the model read, what it relied on, what it recommends; from the JSON content alone."""
    return printable("\n".join(line.rstrip() for line in _lines(explanation)) + "\n")


def shorten(text: str, width: int) -> str:
    """The text in at most `width` characters, safe to print."""
    text = printable(" ".join(text.split()), keep="")
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def name_item(item: Mapping[str, Any]) -> str:
    """The title, or the raw id where there is none."""
    return str(item["title"] or item["raw_id"])


def say_target(explanation: Mapping[str, Any], width: int) -> str:
    """The true target and its rank in at most `width` characters; only the title is cut."""
    target = explanation["target"]
    if target is None:
        return "no target: what would be recommended next"
    low, high = target["rank"], target["rank_if_ties_lost"]
    rank = f"{low:,}" if low == high else f"{low:,} to {high:,} (tied)"
    start, end = f"target {target['time']}: ", f" (rank {rank} of {target['ranked_items']:,})"
    return start + shorten(name_item(target), max(width - len(start + end), 8)) + end


def say_who(explanation: Mapping[str, Any]) -> str:
    """The user, the data and the method."""
    return (
        f"user {printable(explanation['user'], keep='')} (#{explanation['user_number']})  "
        f"{explanation['dataset']['name']}, {explanation['split']}, part {explanation['part']}  "
        f"method {explanation['method']}"
    )


def list_recommended(explanation: Mapping[str, Any]) -> Iterator[str]:
    """The recommended items, the target marked."""
    target, found = explanation["target"], explanation.get("found")
    yield f"recommended: top {len(explanation['recommendations'])}" + (
        "" if found is None else f" (in brackets the place that {found['by']} gives it)"
    )
    for item in explanation["recommendations"]:
        mark = "*" if target is not None and item["item"] == target["item"] else " "
        place = "" if found is None else f"{'[' + str(item['found_rank']) + ']':>6}  "
        title = shorten(name_item(item), WIDTH - 20 - len(place))
        yield f" {mark}{item['rank']:>3}  {item['score']:>9.4f}  {place}{title}"
    if target is not None:
        yield "  (* = the true target)"


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
        label = search["query"] + (f"  > {clicked}" if clicked else "")
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
