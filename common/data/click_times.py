"""The time of every click: given by the log, or taken from the interaction that the click is.

A shop logs one click twice: in the search that led to it (10:00, with the clicks that it got) and
as an interaction of its own (10:01). Read as a click at 10:00, the search tells the answer of
10:01 a minute early: an echo. So a click whose interaction is found has that interaction's time,
and a history shows it strictly after that. Source: ours.

Shapes: [R] rec events  [S] searches  [X] clicks of all searches
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from common.data.events import RecEvents, SearchEvents

WINDOW_MS = 3_600_000  # how long after its search an interaction may be the click: one hour
_NEVER = np.iinfo(np.int64).max
_SHARES = (5, 25, 50, 75, 95, 100)


def match_clicks(
    rec: RecEvents,
    user: np.ndarray,
    item: np.ndarray,
    ts: np.ndarray,
    window_ms: int = WINDOW_MS,
) -> np.ndarray:
    """The interaction that each click is: the nearest one of its user and item from its search on.

    rec:        its positives are the interactions
    user, item: [X], of each click
    ts:         [X], the time of its search, ms UTC
    window_ms:  an interaction later than this after the search is another act
    Returns int64 [X]: the interaction's time, or -1 where there is none.
    """
    row = np.flatnonzero(rec.positive)
    users, items = np.append(user, rec.user[row]), np.append(item, rec.item[row])
    times = np.append(ts, rec.ts[row])
    is_rec = np.arange(len(times)) >= len(ts)
    order = np.lexsort((is_rec, times, items, users))  # at one time the click comes first
    is_rec = is_rec[order]
    place = np.arange(len(order))
    following = np.where(is_rec, place, len(order))
    following = np.minimum.accumulate(following[::-1])[::-1]  # the next interaction from here on
    found = following < len(order)
    nearest = order[np.where(found, following, 0)]
    found &= (users[nearest] == users[order]) & (items[nearest] == items[order])
    found &= times[nearest] - times[order] <= window_ms
    matched = np.full(len(order), -1)
    matched[order] = np.where(found, times[nearest], -1)
    return matched[: len(ts)]


def settle_clicks(
    rec: RecEvents,
    user: np.ndarray,
    item: np.ndarray,
    ts: np.ndarray,
    given: np.ndarray,
    window_ms: int = WINDOW_MS,
) -> tuple[np.ndarray, dict[str, Any]]:
    """The time of each click, and how it is known.

    given: int64 [X], ms UTC, -1 = the log does not say; the others as `match_clicks` takes them
    A time that is given holds. Else a click has the time of its interaction, and one without an
    interaction counts from its search on.
    Returns int64 [X] and {"given", "matched", "unmatched": counts, "window_ms"}.
    """
    matched = match_clicks(rec, user, item, ts, window_ms)
    is_given = given >= 0
    times = np.where(is_given, given, np.where(matched >= 0, matched, ts))
    counts = {
        "given": int(is_given.sum()),
        "matched": int((~is_given & (matched >= 0)).sum()),
        "unmatched": int((~is_given & (matched < 0)).sum()),
    }
    return times, counts | {"window_ms": window_ms}


def order_clicks(rec: RecEvents, search: SearchEvents) -> np.ndarray:
    """int64 [X]: the place of each click inside its instant, as `seq` is that of events.

    A click at its search's own time has the search's place, or that of the interaction which it
    is, whichever comes later. A click at a later time comes after every event of its instant:
    where it stands among them the log does not say. Only history order "source" asks.
    """
    owner = search.click_search
    at_once = search.click_ts == search.ts[owner]
    seq = np.where(at_once, search.seq[owner], np.iinfo(np.int32).max).astype(np.int64)
    last = _find_at_once(rec, search, np.flatnonzero(at_once))
    known = last >= 0
    seq[known] = np.maximum(seq[known], rec.seq[last[known]])
    return seq


def _find_at_once(rec: RecEvents, search: SearchEvents, clicks: np.ndarray) -> np.ndarray:
    """int64 [X]: the last row of rec that each of some clicks is, -1 for none and for the others.

    clicks: which of all clicks, those at their search's own time
    """
    row = np.flatnonzero(rec.positive)
    columns = [
        np.concatenate([mine[row], theirs[clicks]])
        for mine, theirs in (
            (rec.item, search.click_item),
            (rec.ts, search.click_ts),
            (rec.user, search.user[search.click_search]),
        )
    ]
    order = np.lexsort(columns)
    fresh = np.zeros(len(order), bool)
    for column in columns:
        fresh[1:] |= np.diff(column[order]) != 0
    group = np.empty(len(order), np.int64)  # equal where user, time and item are
    group[order] = np.cumsum(fresh)
    last = np.full(len(order) + 1, -1)
    last[group[: len(row)]] = row
    found = np.full(len(search.click_item), -1)
    found[clicks] = last[group[len(row) :]]
    return found


def describe_delays(search: SearchEvents) -> dict[str, float]:
    """How long after its search a click comes: seconds by quantile, e.g. {"50 %": 41.2}."""
    delay = search.click_ts - search.ts[search.click_search]
    if not len(delay):
        return {}
    found = np.percentile(delay, _SHARES, method="lower") / 1000
    return {f"{share} %": float(seconds) for share, seconds in zip(_SHARES, found, strict=True)}


def describe_click_times(told: Mapping[str, Any]) -> list[str]:
    """What `launch.prepare` prints of the times of clicks; told: the manifest's `click_times`."""
    counts = [
        f"{told[name]:,} {what}"
        for name, what in (
            ("given", "given"),
            ("matched", "taken from the interaction that the click is"),
            ("unmatched", "without an interaction, so they count from their search on"),
        )
        if told.get(name)
    ]
    if not counts:
        return []
    shares = "/".join(share.removesuffix(" %") for share in told["delays_s"])
    seconds = "/".join(f"{value:g}" for value in told["delays_s"].values())
    lines = [", ".join(counts), f"seconds after the search ({shares} %): {seconds}"]
    if told.get("matched") or told.get("unmatched"):
        lines.append(
            "if interactions are purchases and not the clicks themselves, give `click_times`"
        )
    return lines
