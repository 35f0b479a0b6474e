"""Candidate lists: each evaluated target with the items it has to beat.

A list is the positive in column 0 and `negatives` distinct other items. Draws 0, 1, 2, ... of a
row are taken in order; a draw is accepted if the item is not the positive, not yet in the list
and never taken by the user. So a list depends on (seed, task, row number) and on nothing else:
not on the other rows, their order, the block size or the number of workers.

Shapes: [n] rows  [k] negatives  [N] items, ids 1..N
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from common.data.bm25 import Bm25Index, rank_hits
from common.data.events import RecEvents, SearchEvents
from common.data.hashing import TASK_STREAM, draw_uniform
from common.errors import InputError

_DRAWS = 128  # per row and block: 17,452 lists of 99 in 0.6 s on one core
_MOST_DRAWS = 8192
_MOST_NEGATIVES = 100_000  # 400 kB a list
_CHUNK = 1 << 20  # draws of all rows at a time, which bounds the memory at about 60 MB


class TooFewItems(InputError):
    """Not enough items are left that a user never took, or that training knows."""


class Ever(NamedTuple):
    """Sets of items as CSR: by default everything a user ever took, in either service.

    Any other family of sets works too, e.g. one set per row for "exclude only the past": the
    argument `users` of the functions below says which set belongs to a row.
    """

    off: np.ndarray  # int64 [sets + 1]
    item: np.ndarray  # int32, ascending and distinct inside a set

    def of(self, user: int) -> np.ndarray:
        """int32: the items of one set."""
        return self.item[self.off[user] : self.off[user + 1]]


def ever_items(rec: RecEvents, search: SearchEvents, n_users: int) -> Ever:
    """All items each user took: rec positives and clicked search results, past and future.

    n_users: users have ids 1..n_users. Returns n_users + 1 sets; set 0 is empty.
    """
    clicker = np.repeat(search.user, np.diff(search.click_off))
    user = np.concatenate([rec.user[rec.positive], clicker]).astype(np.int64)
    item = np.concatenate([rec.item[rec.positive], search.click_item]).astype(np.int64)
    width = int(item.max(initial=0)) + 1
    pairs = np.unique(user * width + item)
    off = np.searchsorted(pairs, np.arange(n_users + 2, dtype=np.int64) * width)
    return Ever(off, (pairs % width).astype(np.int32))


def count_items(items: np.ndarray, n_items: int) -> np.ndarray:
    """int64 [N + 1]: how often each item occurs, e.g. as a task's train target; entry 0 is 0."""
    counts = np.bincount(items, minlength=n_items + 1).astype(np.int64)
    counts[0] = 0
    return counts


def draw_uniform_lists(
    task: str,
    rows: np.ndarray,
    targets: np.ndarray,
    users: np.ndarray,
    ever: Ever,
    n_items: int,
    seed: int,
    negatives: int = 99,
) -> np.ndarray:
    """Lists with negatives drawn uniformly from the catalogue: item = 1 + floor(u N).

    task:    "rec" or "search"
    rows:    int64 [n], row numbers in the task's table
    targets: int32 [n], the positives
    users:   int [n], whose set in `ever` must not be drawn
    Returns int32 [n, 1 + k]. Raises InputError naming the row that has too few items left.
    """
    support = np.arange(n_items + 1) > 0

    def pick(u: np.ndarray) -> np.ndarray:
        return 1 + np.floor(u * n_items).astype(np.int64)

    draft = _start_lists(task, rows, targets, users, negatives)
    return _fill_lists(draft, ever, support, pick, seed)


def draw_popularity_lists(
    task: str,
    rows: np.ndarray,
    targets: np.ndarray,
    users: np.ndarray,
    ever: Ever,
    counts: np.ndarray,
    seed: int,
    negatives: int = 99,
) -> np.ndarray:
    """Lists with negatives drawn by popularity.

    counts: int64 [N + 1], train counts of the task (`count_items`); the rest as in
            `draw_uniform_lists`. Items with count 0 are never drawn.
    Returns int32 [n, 1 + k]. Raises InputError naming the row that has too few items left.
    """
    draft = _start_lists(task, rows, targets, users, negatives)
    return _fill_by_popularity(draft, ever, counts, seed)


def draw_bm25_lists(
    task: str,
    rows: np.ndarray,
    targets: np.ndarray,
    users: np.ndarray,
    ever: Ever,
    counts: np.ndarray,
    seed: int,
    negatives: int = 99,
    *,
    queries: np.ndarray,
    index: Bm25Index,
    drop: Callable[[int], np.ndarray] | None = None,
) -> np.ndarray:
    """Lists with the best text matches of the query as negatives, best first.

    Items that match the query, by BM25 score and then by item id, minus the positive and the
    user's set; where they are too few, popularity draws follow.

    queries: int32 [n], query of each row
    index:   the items' words and the queries' words (`common.data.bm25`)
    drop:    query -> items that must not count as matches, e.g. equally relevant ones
             (`SameQuery.items_of`); the popularity draws may still bring them
    The rest as in `draw_popularity_lists`. Returns int32 [n, 1 + k]; raises InputError naming the
    row that has too few items left. Source: GenSAR repository (BM25, filled up by popularity).
    """
    draft = _start_lists(task, rows, targets, users, negatives)
    largest = int(np.diff(ever.off).max(initial=0))
    by_query = np.argsort(queries, kind="stable")
    starts = np.flatnonzero(np.diff(queries[by_query], prepend=-1))
    for group in np.split(by_query, starts[1:]) if len(queries) else ():
        query = int(queries[group[0]])
        hits = rank_hits(index, query)
        if drop is not None:
            hits = hits[~np.isin(hits, drop(query))]
        hits = hits[: negatives + largest + 1]  # no row of the group can use more
        for i in group:
            taken = np.append(ever.of(int(users[i])), targets[i])
            found = hits[~np.isin(hits, taken)][:negatives]
            draft.lists[i, 1 : 1 + len(found)] = found
            draft.filled[i] += len(found)
    return _fill_by_popularity(draft, ever, counts, seed)


class SameQuery(NamedTuple):
    """Which items were clicked for which query, anywhere in the log."""

    code: np.ndarray  # int64, ascending: query * width + item
    width: int

    def items_of(self, query: int) -> np.ndarray:
        """int64: the items clicked for a query."""
        first, last = np.searchsorted(self.code, [query * self.width, (query + 1) * self.width])
        return self.code[first:last] - query * self.width

    def share(self, lists: np.ndarray, queries: np.ndarray) -> float:
        """Share of negatives that were clicked for the very query they are a negative of."""
        codes = queries.astype(np.int64)[:, None] * self.width + lists[:, 1:]
        return float(contains(self.code, codes).mean()) if codes.size else 0.0


def same_query_items(search: SearchEvents, n_items: int) -> SameQuery:
    """The (query, clicked item) pairs of a search table."""
    query = np.repeat(search.query, np.diff(search.click_off)).astype(np.int64)
    return SameQuery(np.unique(query * (n_items + 1) + search.click_item), n_items + 1)


class _Draft(NamedTuple):
    """Lists in the making; the arrays are filled in place."""

    task: str
    rows: np.ndarray  # int64 [n]
    users: np.ndarray  # int64 [n]
    lists: np.ndarray  # int32 [n, 1 + k], 0 where nothing is set yet
    filled: np.ndarray  # int64 [n], entries set


def _start_lists(
    task: str, rows: np.ndarray, targets: np.ndarray, users: np.ndarray, negatives: int
) -> _Draft:
    """Lists that hold their positive only. Raises TooFewItems before it asks for the memory."""
    if negatives > _MOST_NEGATIVES:
        raise TooFewItems(f"{task}: {negatives:,} negatives a list are too many; lower --negatives")
    lists = np.zeros((len(rows), 1 + negatives), np.int32)
    lists[:, 0] = targets
    return _Draft(task, rows, users.astype(np.int64), lists, np.ones(len(rows), np.int64))


def _fill_by_popularity(draft: _Draft, ever: Ever, counts: np.ndarray, seed: int) -> np.ndarray:
    cumulative = np.cumsum(counts[1:])
    total = int(counts[1:].sum())

    def pick(u: np.ndarray) -> np.ndarray:
        return 1 + np.searchsorted(cumulative, np.floor(u * total), side="right")

    support = counts > 0
    support[0] = False
    return _fill_lists(draft, ever, support, pick, seed)


def _fill_lists(
    draft: _Draft,
    ever: Ever,
    support: np.ndarray,
    pick: Callable[[np.ndarray], np.ndarray],
    seed: int,
) -> np.ndarray:
    """Draws until every list is full; `support` says which items `pick` can return."""
    lists, filled = draft.lists, draft.filled
    size = lists.shape[1]
    width = len(support)
    taken = np.repeat(np.arange(len(ever.off) - 1), np.diff(ever.off)) * width + ever.item
    _check_enough(draft, ever, taken, support)
    stream = TASK_STREAM[draft.task]
    for start in range(0, len(lists), _CHUNK // _DRAWS):
        todo = np.arange(start, min(start + _CHUNK // _DRAWS, len(lists)))
        drawn, draws = 0, _DRAWS
        while (todo := todo[filled[todo] < size]).size:
            numbers = np.arange(drawn, drawn + draws)
            items = pick(draw_uniform(seed, stream, draft.rows[todo, None], numbers))
            new = first_occurrences(lists[todo], items)
            new &= ~contains(taken, draft.users[todo, None] * width + items)
            place = filled[todo, None] + np.cumsum(new, axis=1) - 1
            line, column = np.nonzero(new & (place < size))
            lists[todo[line], place[line, column]] = items[line, column]
            filled[todo] += np.bincount(line, minlength=len(todo))
            # Few rows are left: larger blocks cost no memory and save rounds.
            drawn, draws = drawn + draws, max(_DRAWS, min(_MOST_DRAWS, _CHUNK // len(todo)))
    return lists


def first_occurrences(lists: np.ndarray, items: np.ndarray) -> np.ndarray:
    """bool, shape of `items`: neither in the row's list nor earlier in the row."""
    both = np.concatenate([lists, items], axis=1).astype(np.int64)
    bits = int(both.shape[1]).bit_length()
    # One sort of (item, position) puts the first occurrence of each item ahead of the others.
    codes = (both << bits) | np.arange(both.shape[1])
    codes.sort(axis=1)
    head = np.ones(codes.shape, bool)
    head[:, 1:] = (codes[:, 1:] >> bits) != (codes[:, :-1] >> bits)
    first = np.zeros(codes.shape, bool)
    np.put_along_axis(first, codes & ((1 << bits) - 1), head, axis=1)
    return first[:, lists.shape[1] :]


def contains(ascending: np.ndarray, values: np.ndarray) -> np.ndarray:
    """bool, shape of `values`: which of them are in the ascending array."""
    if not ascending.size:
        return np.zeros(values.shape, bool)
    place = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    return ascending[place] == values


def _check_enough(draft: _Draft, ever: Ever, taken: np.ndarray, support: np.ndarray) -> None:
    """Stops at the first row whose list could never be filled."""
    before = np.concatenate([[0], np.cumsum(support[ever.item])])
    excluded = before[ever.off[draft.users + 1]] - before[ever.off[draft.users]]
    codes = draft.users[:, None] * len(support) + draft.lists
    used = (support[draft.lists] & ~contains(taken, codes)).sum(axis=1)
    left = int(support.sum()) - excluded - used
    size = draft.lists.shape[1]
    short = np.flatnonzero(left < size - draft.filled)
    if short.size:
        i = short[0]
        possible = int(draft.filled[i] - 1 + left[i])
        raise TooFewItems(
            f"{draft.task} row {int(draft.rows[i]) + 1}: only {possible} items are left that user "
            f"{int(draft.users[i])} never took, {size - 1} are needed; lower --negatives"
        )
