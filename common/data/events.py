"""The two event tables as arrays, in table order: what splits, timelines and audits work on.

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
    """Searches, sorted by (user, ts_ms, seq). Row number = index."""

    user: np.ndarray  # int32 [S]
    ts: np.ndarray  # int64 [S], milliseconds UTC
    seq: np.ndarray  # int32 [S]
    query: np.ndarray  # int32 [S]
    click_off: np.ndarray  # int64 [S + 1]; clicks of search s are click_item[off[s]:off[s + 1]]
    click_item: np.ndarray  # int32 [X]
    target: np.ndarray  # int32 [S]: first clicked item; 0 where nothing was clicked

    @property
    def positive(self) -> np.ndarray:
        """bool [S]: searches with a click, which may be targets. All searches are history."""
        return self.target != 0
