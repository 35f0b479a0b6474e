"""Whether two logs tell the time by one clock: how fine each is, and how far they are apart.

A search whose click is also an interaction comes shortly before it. Where most searches come a
constant time before or after theirs, a time zone differs; where most come after, something else
does. Each hands out answers or hides them, so it is said. Source: ours.

Shapes: [R] interactions  [X] clicks of searches  [P] clicks with an interaction
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from common.data.event_tables import detect_resolution

_STEPS = {"ms": 1, "s": 1_000, "min": 60_000, "day": 86_400_000}
_WORDS = {"ms": "milliseconds", "s": "seconds", "min": "minutes", "day": "days"}
_FEW = 3  # times that all fall on whole minutes are no accident from here on: 60^-3
_WIDTH = 30 * 60_000  # offsets this close count as one
_FAR = 45 * 60_000  # nearer than that, a search may simply come before its purchase
_SHARE = 0.5
_ERRORS = 3  # standard errors above one half, where clicks and interactions have nothing in common
_OWN = 10**11  # ms, 1973: a clock with a start of its own does not reach it
_MANY = 10_000  # clicks


class Acts(NamedTuple):
    """Who did something with an item, and when; a row each."""

    user: np.ndarray  # integers
    item: np.ndarray  # integers
    ts: np.ndarray  # int64, ms UTC


def compare_clocks(
    rec: Acts,
    clicks: Acts,
    searched: np.ndarray,
    names: tuple[str, str] = ("interactions", "searches"),
) -> list[str]:
    """What is strange about the times of two logs, a line each; nothing is strange: none.

    rec:      [R], interactions
    clicks:   [X], clicked items, each with the time of its search
    searched: int64, the times of all searches, ms UTC
    names:    what the lines call the two logs
    """
    lines = _compare_resolutions(rec.ts, searched, names)
    if len(searched) and (rec.ts.max(initial=0) < _OWN) != (searched.max(initial=0) < _OWN):
        lines.append(
            f"warning: times of {names[int(searched.max() < _OWN)]} are small numbers, those of "
            f"{names[int(searched.max() >= _OWN)]} count from 1970: they cannot be compared"
        )
        return lines
    offset = find_offsets(rec, clicks)
    if len(offset) < _FEW:
        return lines
    offset = np.sort(offset)
    ends = np.searchsorted(offset, offset + _WIDTH, side="right")
    start = int(np.argmax(ends - np.arange(len(offset))))
    same = offset[start : ends[start]]
    middle = int(same[len(same) // 2])
    late = float((offset < 0).mean())
    if len(same) >= max(_FEW, _SHARE * len(offset)) and abs(middle) >= _FAR:
        side = "after" if middle > 0 else "before"
        lines.append(
            f"warning: of {len(offset):,} clicks in {names[1]} that are also in {names[0]}, "
            f"{len(same) / len(offset):.0%} stand there about {tell_span(abs(middle))} {side} "
            "their search: do both use one time zone and one clock?"
        )
    elif (late - 0.5) * 2 * len(offset) ** 0.5 > _ERRORS:
        lines.append(
            f"warning: of {len(offset):,} clicks in {names[1]} that are also in {names[0]}, "
            f"{late:.0%} stand there before their search: is the time that of the search?"
        )
    return lines


def find_offsets(rec: Acts, clicks: Acts) -> np.ndarray:
    """int64 [P]: from each click's search to the nearest interaction of its user and item, ms.

    Of many clicks, 10,000 that are spread evenly over the rows are looked at. Those without such
    an interaction are left out; of two as near, the later one counts.
    """
    if len(clicks.ts) > _MANY:
        spread = np.linspace(0, len(clicks.ts) - 1, _MANY).astype(np.int64)
        clicks = Acts(*(column[spread] for column in clicks))
    near = np.isin(rec.user, clicks.user) & np.isin(rec.item, clicks.item)
    rec = Acts(*(column[near] for column in rec))
    n = len(clicks.ts)
    user, item, ts = (np.concatenate(pair) for pair in zip(clicks, rec, strict=True))
    is_rec = np.arange(len(ts)) >= n
    order = np.lexsort((is_rec, ts, item, user))
    user, item, ts, is_rec = user[order], item[order], ts[order], is_rec[order]
    place = np.arange(len(order))
    before = np.maximum.accumulate(np.where(is_rec, place, -1))
    after = np.minimum.accumulate(np.where(is_rec, place, len(order))[::-1])[::-1]
    nearest = np.full(len(order), np.iinfo(np.int64).max)
    for other in (before, after):
        found = (other >= 0) & (other < len(order))
        other = np.where(found, other, 0)
        found &= (user[other] == user) & (item[other] == item)
        offset = ts[other] - ts
        found &= np.abs(offset) <= np.abs(nearest)
        nearest[found] = offset[found]
    nearest = nearest[~is_rec]
    return nearest[nearest != np.iinfo(np.int64).max]


def _compare_resolutions(
    rec: np.ndarray, searched: np.ndarray, names: tuple[str, str]
) -> list[str]:
    if min(len(rec), len(searched)) < _FEW:
        return []
    fine, coarse = sorted(
        ((detect_resolution(ts), name) for ts, name in zip((rec, searched), names, strict=True)),
        key=lambda pair: _STEPS[pair[0]],
    )
    if fine[0] == coarse[0]:
        return []
    return [
        f"warning: times of {coarse[1]} are whole {_WORDS[coarse[0]]}, those of {fine[1]} are "
        f"{_WORDS[fine[0]]}: which of two events of one {_WORDS[coarse[0]].removesuffix('s')} came "
        "first is not known"
    ]


def tell_span(ms: int) -> str:
    """A span in words, to the minute."""
    minutes = round(ms / 60_000)
    days, hours = divmod(minutes // 60, 24)
    parts = [f"{days} d"] * bool(days) + [f"{hours} h"] * bool(hours)
    return " ".join(parts + [f"{minutes % 60} min"] * bool(minutes % 60 and not days))
