"""Event tables from arrays: order, numbers inside a tie, columns; and how fine the clock is.

Shapes: [E] events of both tables  [R] rec events  [S] searches  [X] shown items of all searches
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

_STEPS = (("day", 86_400_000), ("min", 60_000), ("s", 1_000))


def number_events(
    user: np.ndarray, ts: np.ndarray, came: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Sorts events by (user, ts, came) and numbers those of one user and time from 0.

    user, ts: integers [E]
    came:     integers [E], distinct: the order in the source
    Returns order int64 [E] and, in that order, seq int32 [E].
    """
    order = np.lexsort((came, ts, user))
    index = np.arange(len(order))
    fresh = np.ones(len(order), bool)  # another user or time
    fresh[1:] = (np.diff(user[order]) != 0) | (np.diff(ts[order]) != 0)
    return order, (index - np.maximum.accumulate(np.where(fresh, index, 0))).astype(np.int32)


def tabulate_rec(
    user: np.ndarray, ts: np.ndarray, seq: np.ndarray, item: np.ndarray, label: np.ndarray
) -> pa.Table:
    """The rec table; arguments int [R] in table order, ts in ms UTC. Other columns stay empty."""
    return pa.table(
        {
            "user": user.astype(np.int32),
            "ts_ms": ts.astype(np.int64),
            "seq": seq.astype(np.int32),
            "item": item.astype(np.int32),
            "label": label.astype(np.uint8),
            "actions": label.astype(np.uint16),
        }
    )


def tabulate_search(
    user: np.ndarray,
    ts: np.ndarray,
    seq: np.ndarray,
    query: np.ndarray,
    off: np.ndarray,
    shown: np.ndarray,
    is_clicked: np.ndarray,
    click_ts: np.ndarray,
    *,
    source: str,
    synthetic: bool,
) -> pa.Table:
    """The search table; the first four arguments int [S] in table order, ts in ms UTC.

    off:        int [S + 1]; search s showed the items shown[off[s]:off[s + 1]]
    shown:      int32 [X]
    is_clicked: bool [X]
    click_ts:   int64, ms UTC, of each clicked item, in the order of `shown[is_clicked]`
    source:     where searches come from, e.g. "user"
    synthetic:  the queries were made up from the clicked items
    """
    n = len(user)
    off = off.astype(np.int32)
    clicked_off = np.concatenate([[0], np.cumsum(is_clicked)])[off].astype(np.int32)

    def lists(offsets: np.ndarray, values: np.ndarray) -> pa.ListArray:
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))

    return pa.table(
        {
            "user": user.astype(np.int32),
            "ts_ms": ts.astype(np.int64),
            "seq": seq.astype(np.int32),
            "session": np.arange(1, n + 1),
            "query": query.astype(np.int32),
            "source": pa.array([source] * n, pa.string()),
            "shown": lists(off, shown.astype(np.int32)),
            "shown_kind": lists(off, np.zeros(len(shown), np.uint8)),
            "clicks": lists(off, is_clicked.astype(np.uint16)),
            "clicked": lists(clicked_off, shown[is_clicked].astype(np.int32)),
            "click_ts": lists(clicked_off, click_ts.astype(np.int64)),
            "synthetic_query": np.full(n, synthetic),
        }
    )


def detect_resolution(ts: np.ndarray) -> str:
    """The coarsest clock that fits all times (int64, ms UTC): "day", "min", "s" or "ms"."""
    for name, step in _STEPS:
        if not (ts % step).any():
            return name
    return "ms"


def share_ties(user: np.ndarray, ts: np.ndarray) -> float:
    """Share of events that have the user and time of another; arrays sorted by both."""
    if not len(user):
        return 0.0
    same = (np.diff(user) == 0) & (np.diff(ts) == 0)
    return float((np.append(same, False) | np.append(False, same)).mean())
