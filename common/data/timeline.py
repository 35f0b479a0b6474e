"""One timeline per user: what happened strictly before each event, as flat arrays.

Key of an event: its `ts` in history order "time" (events of one instant have no order, so they
exclude each other), (`ts`, `seq`) in "source" (the log's own order inside an instant counts).
The history of an event is every event of its user with a smaller key, of both services. A search
is in it from the search's own key on, and each of its clicks from the click's own key on: who
searched at 10:00 and clicked at 10:01 had not clicked at 10:01 sharp.

Shapes: [U] users  [R] positives of rec.parquet  [S] rows of search.parquet  [X] clicks
        [n] rows asked for
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.data.click_times import order_clicks
from common.data.events import RecEvents, SearchEvents
from common.data.keys import HISTORY_ORDERS
from common.errors import InputError


class KnownItems(NamedTuple):
    """Items that histories show; arrays of one length."""

    owner: np.ndarray  # int64, which of the rows asked for
    is_click: np.ndarray  # bool: through a click of a search, else through a rec event
    place: np.ndarray  # int64, where it stands among the timeline's rec events, or its clicks
    item: np.ndarray  # int32


@dataclass(frozen=True)
class Timeline:
    """Events per user, oldest first, and where the history of each event ends.

    User u has the rec events [rec_off[u], rec_off[u + 1]), and searches likewise. Events of rec
    are its positives; every search is an event, so the index of a search is its row number.
    Made by `build_timeline`.
    """

    history_order: str
    rec_off: np.ndarray  # int64 [U + 2]; user 0 has no events
    rec_row: np.ndarray  # int64 [R], row in rec.parquet, ascending
    rec_user: np.ndarray  # int32 [R]
    rec_item: np.ndarray  # int32 [R]
    rec_ts: np.ndarray  # int64 [R], milliseconds UTC
    rec_first_same: np.ndarray  # int64 [R], first rec event of the same user and key
    rec_to_search: np.ndarray  # int64 [R], first search of the user with key >= this key
    search_off: np.ndarray  # int64 [U + 2]
    search_user: np.ndarray  # int32 [S]
    search_query: np.ndarray  # int32 [S]
    search_target: np.ndarray  # int32 [S], 0 = a search without a click
    search_ts: np.ndarray  # int64 [S]
    search_first_same: np.ndarray  # int64 [S], first search of the same user and key
    search_to_rec: np.ndarray  # int64 [S], first rec event of the user with key >= this key
    search_past_rec: np.ndarray  # int64 [S], first rec event of the user with key > this key
    search_click_off: np.ndarray  # int64 [S + 1]
    search_click_item: np.ndarray  # int32 [X], of a search the earliest first
    search_click_from: np.ndarray  # int64 [X], how many events, all users, have key <= the click's

    def find(self, task: str, rows: np.ndarray) -> np.ndarray:
        """int64 [n]: where table rows stand in the event arrays of their task.

        rows: int64 [n], row numbers.
        Raises InputError for a row that is no event: not a positive of rec, or out of range.
        """
        rows = np.asarray(rows, np.int64)
        if task == "search":
            index, known = rows, (rows >= 0) & (rows < len(self.search_ts))
        else:
            index = np.searchsorted(self.rec_row, rows)
            known = np.searchsorted(self.rec_row, rows, side="right") > index
        if not known.all():
            raise InputError(
                f"{task}.parquet, row {int(rows[~known][0]) + 1}: no event of the timeline; "
                "ask for rows of the table that are positives"
            )
        return index

    def ends(
        self, task: str, rows: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The history of each row: rec events [rec_start, rec_end), and searches likewise.

        rows: int64 [n], row numbers of the task's table.
        Returns rec_end, search_end, rec_start, search_start, each int64 [n].
        Raises InputError for a row that is no event.
        """
        return self.ends_at(task, self.find(task, rows))

    def ends_at(
        self, task: str, index: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`ends` for events that were found before (`find`)."""
        if task == "search":
            user = self.search_user[index]
            rec_end, search_end = self.search_to_rec[index], self.search_first_same[index]
        else:
            user = self.rec_user[index]
            rec_end, search_end = self.rec_first_same[index], self.rec_to_search[index]
        return rec_end, search_end, self.rec_off[user], self.search_off[user]

    def history_size(self, task: str, rows: np.ndarray) -> np.ndarray:
        """int64 [n]: how many events of both services the history of each row has."""
        rec_end, search_end, rec_start, search_start = self.ends(task, rows)
        return rec_end - rec_start + search_end - search_start

    def history_items(self, task: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every item of the whole history of each row: rec items, then clicked items of searches.

        rows: int64 [n]. Returns offsets int64 [n + 1] and items int32: row i has
        items[offsets[i]:offsets[i + 1]], per service in order of time, repeats kept. A row's own
        target is left out even where it is a true repeat, so that masking these items from a
        full ranking never masks the answer.
        """
        known = self.known_items(task, rows)
        index = self.find(task, rows)
        target = (self.search_target if task == "search" else self.rec_item)[index]
        keep = known.item != target[known.owner]
        offsets = np.zeros(len(index) + 1, np.int64)
        np.cumsum(np.bincount(known.owner[keep], minlength=len(index)), out=offsets[1:])
        return offsets, known.item[keep]

    def known_items(self, task: str, rows: np.ndarray) -> KnownItems:
        """Every item that the whole history of each row shows, its own target too.

        rows: int64 [n]. Row by row: rec items in order of time, then clicked items, repeats kept.
        """
        rec_end, search_end, rec_start, search_start = self.ends(task, rows)
        clicks = self.search_click_off
        starts = np.stack([rec_start, clicks[search_start]], axis=1).ravel()
        sizes = np.stack([rec_end, clicks[search_end]], axis=1).ravel() - starts
        place = expand_ranges(starts, sizes)
        is_click = np.repeat(np.tile([False, True], len(rec_end)), sizes)
        owner = np.repeat(np.repeat(np.arange(len(rec_end)), 2), sizes)
        clicked = place[is_click]
        shown = np.ones(len(place), bool)
        shown[is_click] = self.search_click_from[clicked] <= (rec_end + search_end)[owner[is_click]]
        item = np.empty(len(place), np.int32)
        item[~is_click] = self.rec_item[place[~is_click]]
        item[is_click] = self.search_click_item[clicked]
        return KnownItems(owner[shown], is_click[shown], place[shown], item[shown])


def build_timeline(
    rec: RecEvents, search: SearchEvents, n_users: int, history_order: str
) -> Timeline:
    """Builds the timelines of all users.

    rec, search:   the event tables, each sorted by (user, ts, seq)
    n_users:       users have the ids 1..n_users
    history_order: "time" or "source", see the head of this file
    Raises InputError for an unknown order or a table that is not sorted.
    """
    if history_order not in HISTORY_ORDERS:
        raise InputError(
            f"history_order {history_order!r}: unknown; use one of {', '.join(HISTORY_ORDERS)}"
        )
    row = np.flatnonzero(rec.positive)
    clicker = search.user[search.click_search]
    columns = [
        (rec.user[row], search.user, clicker),
        (rec.ts[row], search.ts, search.click_ts),
    ]
    if history_order == "source":
        columns.append((rec.seq[row], search.seq, order_clicks(rec, search)))
    rec_key, search_key, click_key = _pack_keys(columns)
    _check_sorted("rec.parquet", row, rec_key)
    _check_sorted("search.parquet", np.arange(len(search_key)), search_key)
    users = np.arange(n_users + 2)
    # A key starts with the user, so a place found for a key never leaves the user's own range.
    return Timeline(
        history_order=history_order,
        rec_off=np.searchsorted(rec.user[row], users),
        rec_row=row,
        rec_user=rec.user[row],
        rec_item=rec.item[row],
        rec_ts=rec.ts[row],
        rec_first_same=_first_same(rec_key),
        rec_to_search=np.searchsorted(search_key, rec_key),
        search_off=np.searchsorted(search.user, users),
        search_user=search.user,
        search_query=search.query,
        search_target=search.target,
        search_ts=search.ts,
        search_first_same=_first_same(search_key),
        search_to_rec=np.searchsorted(rec_key, search_key),
        search_past_rec=np.searchsorted(rec_key, search_key, side="right"),
        search_click_off=search.click_off,
        search_click_item=search.click_item,
        # Events before a target are those with a smaller key, so a click is one of the past where
        # they are no fewer than the events up to the click.
        search_click_from=np.searchsorted(rec_key, click_key, side="right")
        + np.searchsorted(search_key, click_key, side="right"),
    )


def expand_ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """int64: the numbers start, start + 1, ... (size of them) of every range, one after the other.

    starts, sizes: int64 [n], sizes >= 0.
    """
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - sizes), sizes)


def _pack_keys(columns: Sequence[tuple[np.ndarray, ...]]) -> list[np.ndarray]:
    """One int64 per event that compares like the columns do, over rec, searches and clicks.

    columns: (rec, search, click) integers, the most significant first.
    """
    packed, limit = [np.zeros(len(part), np.int64) for part in columns[0]], 1
    for column in columns:
        low = min(int(part.min(initial=0)) for part in column)
        span = max(int(part.max(initial=0)) for part in column) - low + 1
        if limit > 2**62 // span:  # ranks instead of values: slower
            known = np.unique(np.concatenate(packed))
            packed, limit = [np.searchsorted(known, part) for part in packed], len(known)
        if limit > 2**62 // span:  # both: 2^31 events, which have int32 rows, make at most 2^62
            known = np.unique(np.concatenate(column))
            column = tuple(np.searchsorted(known, part) for part in column)
            low, span = 0, len(known)
        for part, values in zip(packed, column, strict=True):
            part *= span
            part += values
            part -= low
        limit *= span
    return packed


def _check_sorted(table: str, rows: np.ndarray, key: np.ndarray) -> None:
    wrong = np.flatnonzero(key[1:] < key[:-1])
    if len(wrong):
        raise InputError(
            f"{table}, row {int(rows[wrong[0] + 1]) + 1}: comes before the row above it in "
            "(user, ts_ms, seq); sort the table and prepare it again"
        )


def _first_same(key: np.ndarray) -> np.ndarray:
    """int64 [n]: index of the first entry equal to each entry of an ascending array."""
    first = np.arange(len(key))
    first[1:][key[1:] == key[:-1]] = 0
    return np.maximum.accumulate(first)
