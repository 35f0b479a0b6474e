"""The history of each row of a batch, gathered from columns: on the host, or on a device.

One formula for both, so a batch is the same integers wherever it was made.

Shapes: [b] rows of a batch  [M] rec history  [N] searches  [P] clicks per search
        [R] rec events of the timeline  [S] searches
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from common.data.timeline import Timeline
from common.data.view import View

# Of a row: its history is rec events [rec_start, rec_end) and searches [search_start, search_end).
ENDS = ("rec_end", "search_end", "rec_start", "search_start")


class Columns(NamedTuple):
    """What histories are gathered from; arrays of numpy or jax."""

    rec_item: Any  # int32 [R]
    rec_to_search: Any  # [R], first search of the user with key >= this event's key
    search_query: Any  # int32 [S]
    search_past_rec: Any  # [S], first rec event of the user with key > this search's key
    click: Any  # int32 [S + 1, P]: row s + 1 has the first clicks of search s; row 0 is empty
    click_from: Any  # [S + 1, P], how many events have a key up to the click's; ascending


class History(NamedTuple):
    """Where the events of histories stand: indices [b, M] and [b, N], 0 in pads, with masks."""

    rec: Any
    rec_mask: Any
    search: Any
    search_mask: Any


def take_columns(timeline: Timeline, view: View) -> Columns:
    """The columns of a timeline that a view's histories are gathered from; indices are int64."""
    since = pad_clicks(timeline, timeline.search_click_from, view.clicks)
    return Columns(
        timeline.rec_item,
        timeline.rec_to_search,
        timeline.search_query,
        timeline.search_past_rec,
        pad_clicks(timeline, timeline.search_click_item, view.clicks),
        np.maximum.accumulate(since, axis=1),  # so that the last column is that of the last click
    )


def gather_history(
    xp: Any, view: View, columns: Columns, ends: Mapping[str, Any]
) -> tuple[dict[str, Any], History]:
    """The most recent events before each target, oldest first, pads at the end.

    xp: numpy or jax.numpy, whose arrays the others are; ends: integers [b], by the names of `ENDS`
    Returns the fields of `View` that can go to a device, and where their events stand.
    """
    lengths = (view.rec_length, view.search_length)
    rec_end, search_end, rec_start, search_start = (ends[name][:, None] for name in ENDS)
    if not view.searches:
        search_start = search_end
    rec_start = xp.maximum(rec_start, rec_end - lengths[0])
    search_start = xp.maximum(search_start, search_end - lengths[1])
    rec, rec_mask = _slots(xp, rec_start, rec_end, lengths[0])
    search, search_mask = _slots(xp, search_start, search_end, lengths[1])

    # Newer than a slot: the kept events after it in its own service, and those of the other
    # service after it in the merged timeline, where rec comes before search in a tie.
    next_search = xp.clip(take_rows(xp, columns.rec_to_search, rec), search_start, search_end)
    next_rec = xp.clip(take_rows(xp, columns.search_past_rec, search), rec_start, rec_end)
    pad = sum(lengths)
    newest = rec_end + search_end - 1 - pad
    rec_order = (newest - rec - next_search) * rec_mask + pad
    search_order = (newest - search - next_rec) * search_mask + pad
    fields = {
        "rec_item": take_rows(xp, columns.rec_item, rec) * rec_mask,
        "rec_mask": rec_mask.astype(np.uint8),
        "search_query": take_rows(xp, columns.search_query, search) * search_mask,
        "search_click": _take_clicks(xp, columns, (search + 1) * search_mask, rec_end + search_end),
        "search_mask": search_mask.astype(np.uint8),
        "order": xp.concatenate([rec_order, search_order], axis=1).astype(np.int32),
    }
    return fields, History(rec, rec_mask, search, search_mask)


def pad_clicks(timeline: Timeline, values: np.ndarray, clicks: int) -> np.ndarray:
    """[S + 1, P]: row s + 1 has the values of the first P clicks of search s; row 0 is empty.

    values: [X], one per click of the timeline
    """
    start, end = timeline.search_click_off[:-1, None], timeline.search_click_off[1:, None]
    index, mask = _slots(np, start, np.minimum(end, start + clicks), clicks)
    padded = np.zeros((len(index) + 1, clicks), values.dtype)
    padded[1:] = take_rows(np, values, index) * mask
    return padded


def _take_clicks(xp: Any, columns: Columns, search: Any, before: Any) -> Any:
    """int32 [b, N, P]: the clicks of searches (rows of `columns.click`) that came before a target.

    before: [b, 1], how many events have a key below the target's: rec_end + search_end
    """
    clicks = take_rows(xp, columns.click, search)
    if xp is np and clicks.size:  # few clicks are late, and a host need not look at the others
        late = columns.click_from[search, -1] > before
        if late.any():
            row, slot = np.nonzero(late)
            clicks[row, slot] *= columns.click_from[search[row, slot]] <= before[row]
        return clicks
    return clicks * (take_rows(xp, columns.click_from, search) <= before[..., None])


def _slots(xp: Any, start: Any, end: Any, length: int) -> tuple[Any, Any]:
    """Indices [b, length] of the events [start, end), 0 in pads, and their mask, bool."""
    index = start + xp.arange(length)
    mask = index < end
    return index * mask, mask


def take_rows(xp: Any, array: Any, index: Any) -> Any:
    """array[index] along the first axis, as numpy or jax; zeros where it has no rows at all."""
    if not len(array):
        return xp.zeros(index.shape + array.shape[1:], array.dtype)
    # No index is out of range; "clip" is the fastest on the host and safe on a device.
    return xp.take(array, index, axis=0, mode="clip")
