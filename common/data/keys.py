"""Keys: how far along a user's history an event is, as one integer that can be compared.

A key is `ts` ("time": events of one instant have no order) or (`ts`, `seq`) ("source": the log's
own order inside an instant). Splits use nothing but comparisons of keys.

Shapes: [P] events of one task  [U] users, ids 0..U-1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from common.data.click_times import order_clicks
from common.data.events import RecEvents, SearchEvents

HISTORY_ORDERS = ("time", "source")

NEVER = np.iinfo(np.int64).max  # later than every key
BEFORE = -1  # earlier than every key


def rank_keys(user: np.ndarray, ts: np.ndarray, seq: np.ndarray, history_order: str) -> np.ndarray:
    """Keys as int64 ranks: within a user smaller = earlier, equal = tied; users do not mix.

    user, ts, seq: integers of one length, in any order. Returns int64 of that length, from 0.
    """
    columns = (seq, ts, user) if history_order == "source" else (ts, user)
    order = np.lexsort(columns)
    new = np.zeros(len(order), bool)
    for column in columns:
        ordered = column[order]
        new[1:] |= ordered[1:] != ordered[:-1]
    key = np.empty(len(order), np.int64)
    key[order] = np.cumsum(new)
    return key


class KeyedRows(NamedTuple):
    """Rows of one task, in table order, which is key order inside a user."""

    row: np.ndarray  # int64 [P]
    user: np.ndarray  # int32 [P]
    key: np.ndarray  # int64 [P], ascending; comparable over both tasks of a user
    end: np.ndarray  # int64 [P], likewise: of the search's last click, of a rec event its own key

    def take(self, chosen: np.ndarray) -> KeyedRows:
        """Some of the rows; chosen: bool [P]."""
        return KeyedRows(*[column[chosen] for column in self])


@dataclass(frozen=True)
class DistinctKeys:
    """The distinct keys of one task, user by user."""

    key: np.ndarray  # int64, ascending
    off: np.ndarray  # int64 [U + 1]: keys of user u are key[off[u]:off[u + 1]]

    def per_user(self) -> np.ndarray:
        """int64 [U]: distinct keys per user."""
        return np.diff(self.off)

    def from_end(self, back: int) -> np.ndarray:
        """int64 [U]: the back-th key from the user's end (1 = last), or before everything."""
        if not self.key.size:
            return np.full(len(self.off) - 1, BEFORE, np.int64)
        place = self.off[1:] - back
        return np.where(place >= self.off[:-1], self.key[np.maximum(place, 0)], BEFORE)

    def below(self, cut: np.ndarray) -> np.ndarray:
        """int64 [U]: the user's largest key < cut, or before everything."""
        if not self.key.size:
            return np.full(len(cut), BEFORE, np.int64)
        place = np.searchsorted(self.key, cut) - 1
        return np.where(place >= self.off[:-1], self.key[np.maximum(place, 0)], BEFORE)

    def at_least(self, cut: np.ndarray) -> np.ndarray:
        """int64 [U]: the user's smallest key >= cut, or never."""
        if not self.key.size:
            return np.full(len(cut), NEVER, np.int64)
        place = np.maximum(np.searchsorted(self.key, cut), self.off[:-1])
        last = len(self.key) - 1
        return np.where(place < self.off[1:], self.key[np.minimum(place, last)], NEVER)


def key_rows(
    rec: RecEvents, search: SearchEvents, history_order: str, *, every_search: bool = False
) -> list[KeyedRows]:
    """Positives of rec and search with keys that compare over both; maybe all searches."""
    searches = np.ones(len(search.user), bool) if every_search else search.positive
    rows = [np.flatnonzero(rec.positive), np.flatnonzero(searches)]
    last_ts, last_seq = search.last_clicks(order_clicks(rec, search))
    moments = (
        (rec.user, rec.ts, rec.seq, rows[0]),
        (search.user, search.ts, search.seq, rows[1]),
        (search.user, last_ts, last_seq, rows[1]),
    )
    user, ts, seq = (np.concatenate([moment[i][moment[3]] for moment in moments]) for i in range(3))
    key = rank_keys(user, ts, seq, history_order)
    rec_key, search_key, end = np.split(key, np.cumsum([len(rows[0]), len(rows[1])]))
    return [
        KeyedRows(rows[0], rec.user[rows[0]], rec_key, rec_key),
        KeyedRows(rows[1], search.user[rows[1]], search_key, end),
    ]


def count_users(rec: RecEvents, search: SearchEvents) -> int:
    """One more than the largest user id."""
    return 1 + max(int(events.user.max(initial=0)) for events in (rec, search))


def distinct_keys(task: KeyedRows, n_users: int) -> DistinctKeys:
    """The distinct keys of a task's rows, for users 0..n_users-1."""
    new = np.ones(len(task.key), bool)
    new[1:] = task.key[1:] != task.key[:-1]
    off = np.zeros(n_users + 1, np.int64)
    np.cumsum(np.bincount(task.user[new], minlength=n_users), out=off[1:])
    return DistinctKeys(task.key[new], off)


def last_rows(task: KeyedRows, key: np.ndarray) -> np.ndarray:
    """int64, ascending: of each user's key the last row that has it; `NEVER` = no row."""
    key = key[key != NEVER]
    return task.row[np.searchsorted(task.key, key, side="right") - 1]
