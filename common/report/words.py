"""What the texts and pictures of all explanations have in common; at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common.printable import printable

WIDTH = 100
_ID = 24  # characters of an id


def shorten(text: str, width: int) -> str:
    """The text in at most `width` characters, safe to print."""
    text = printable(" ".join(text.split()), keep="")
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def name_item(item: Mapping[str, Any]) -> str:
    """The raw id and the title, where there is one."""
    return f"{shorten(item['raw_id'], _ID)} {item['title'] or ''}".rstrip()


def say_title(item: Mapping[str, Any]) -> str:
    """The title, or the raw id where there is none: for a label without room for both."""
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
    items = explanation["recommendations"]
    room = min(max((len(item["raw_id"]) for item in items), default=0), _ID)
    for item in items:
        mark = "*" if target is not None and item["item"] == target["item"] else " "
        place = "" if found is None else f"{'[' + str(item['found_rank']) + ']':>6}  "
        own = shorten(item["raw_id"], _ID)
        title = "" if item["title"] is None else "  " + item["title"]
        named = f"{own:<{room}}" + (title and "  " + shorten(title, WIDTH - 22 - len(place) - room))
        yield f" {mark}{item['rank']:>3}  {item['score']:>9.4f}  {place}{named}"
    if target is not None:
        yield "  (* = the true target)"
