"""The two event tables as arrays, in table order: what splits, timelines and audits work on.

A search and its clicks are moments of their own: the user searches, reads, and clicks a minute
later. So every click has a time, and a history shows it only after that.

Shapes: [R] rows of rec.parquet  [S] rows of search.parquet  [X] clicks of all searches
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

TASKS = ("rec", "search")
PARTS = ("train", "valid", "test")


class RecEvents(NamedTuple):
    """Recommendation events, sorted by (user, ts_ms, seq). Row number = index."""

    user: np.ndarray  # int32 [R]
    ts: np.ndarray  # int64 [R], milliseconds UTC
    seq: np.ndarray  # int32 [R], order inside one (user, ts) over both tables
    item: np.ndarray  # int32 [R]
    label: np.ndarray  # uint8 [R], 1 = positive, 0 = shown only

    @property
    def positive(self) -> np.ndarray:
        """bool [R]: rows that are history and may be targets (view `click`)."""
        return self.label == 1

    @property
    def target(self) -> np.ndarray:
        """int32 [R]: the item to be predicted; 0 where the row is no positive."""
        return np.where(self.positive, self.item, 0).astype(np.int32)


class SearchEvents(NamedTuple):
    """Searches, sorted by (user, ts_ms, seq). Row number = index. Made by `make_searches`."""

    user: np.ndarray  # int32 [S]
    ts: np.ndarray  # int64 [S], milliseconds UTC
    seq: np.ndarray  # int32 [S]
    query: np.ndarray  # int32 [S]
    click_off: np.ndarray  # int64 [S + 1]; clicks of search s are click_item[off[s]:off[s + 1]]
    click_item: np.ndarray  # int32 [X], of a search the earliest click first
    click_ts: np.ndarray  # int64 [X], milliseconds UTC, never before the search's own ts
    target: np.ndarray  # int32 [S]: first clicked item; 0 where nothing was clicked

    @property
    def positive(self) -> np.ndarray:
        """bool [S]: searches with a click, which may be targets. All searches are history."""
        return self.target != 0

    @property
    def click_search(self) -> np.ndarray:
        """int64 [X]: the search of each click."""
        return np.repeat(np.arange(len(self.user)), np.diff(self.click_off))

    def last_clicks(self, click_seq: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """ts int64 [S] and seq [S] of the moment that each search is over: its last click, or
        itself where nothing was clicked. click_seq: [X], from `common.data.click_times`."""
        ts, seq = self.ts.copy(), self.seq.astype(np.int64)
        clicked = np.flatnonzero(np.diff(self.click_off))
        last = (
            np.maximum.reduceat(
                np.stack([self.click_ts, click_seq]), self.click_off[clicked], axis=1
            )
            if len(clicked)
            else np.zeros((2, 0), np.int64)
        )
        ts[clicked], seq[clicked] = last
        return ts, seq


def make_searches(
    user: np.ndarray, ts: np.ndarray, seq: np.ndarray, query: np.ndarray,
    click_off: np.ndarray, click_item: np.ndarray, click_ts: np.ndarray | None = None,
) -> SearchEvents:  # fmt: skip
    """Searches with their clicks in order of time, those of one time in the order given.

    user, ts, seq, query: [S]; click_off: [S + 1]; click_item, click_ts: [X], search by search
    click_ts: None = every click at its search's own time, as pseudo-searches have them
    """
    owner = np.repeat(np.arange(len(user)), np.diff(click_off))
    if click_ts is None:
        click_ts = ts[owner]
    late = np.flatnonzero((np.diff(owner) == 0) & (np.diff(click_ts) < 0))
    if len(late):  # most logs have their clicks in order
        order = np.lexsort((click_ts, owner))
        click_item, click_ts = click_item[order], click_ts[order]
    target = np.zeros(len(user), np.int32)
    clicked = np.flatnonzero(np.diff(click_off))
    target[clicked] = click_item[click_off[clicked]]
    return SearchEvents(user, ts, seq, query, click_off, click_item, click_ts, target)
