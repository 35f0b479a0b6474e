"""Synthetic events as tables: rows in log order, words as tokens.

Shapes: [E] clicks  [S] searches  [N] items
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.data.readers.synthetic_clicks import DAY, Clicks
from common.data.readers.synthetic_searches import Searches
from common.data.readers.synthetic_world import Items, Params, Topics, Uniforms, make_words


class Log(NamedTuple):
    """Events in table order. Rec rows are clicks and exposures."""

    rec_click: np.ndarray  # int64, the click of each rec row
    rec_label: np.ndarray  # uint8, 0 = shown with that click
    rec_item: np.ndarray  # int32
    rec_ts: np.ndarray  # int64, ms
    rec_seq: np.ndarray  # int32
    search: np.ndarray  # int64 [S], the search of each search row
    search_ts: np.ndarray
    search_seq: np.ndarray


class Spelling(NamedTuple):
    """Words as tokens 1..n in the order of their spelling."""

    words: list[str]  # word of token i + 1
    token: np.ndarray  # int32, token of a word number; the last entry, for number -1, is 0


def order_log(
    params: Params,
    items: Items,
    clicks: Clicks,
    searches: Searches,
    click_item: np.ndarray,
    uniforms: Uniforms,
) -> Log:
    """Adds exposures, drops clicks without an item and sorts all events.

    click_item: int32 [E], 0 = dropped. Events of one time stay in the order in which they came:
    searches, then what was shown, then the click.
    """
    click = np.flatnonzero(clicks.kept & (click_item > 0))
    extra = np.floor(params.exposures + uniforms.draw(len(click))).astype(np.int64)
    exposed = np.repeat(click, extra)
    exposure = items.draw_any(uniforms.draw(len(exposed)))
    other = exposure != click_item[exposed]  # a request does not show one item twice
    exposed, exposure = exposed[other], exposure[other]

    rec_click = np.concatenate([exposed, click])
    rec_item = np.concatenate([exposure, click_item[click]])
    ts = np.concatenate([clicks.shown_ts[rec_click], searches.ts])
    if params.resolution == "day":
        ts = ts // DAY * DAY
    came = np.concatenate([3 * exposed + 1, 3 * click + 2, 3 * searches.before])
    user = np.concatenate([clicks.user[rec_click], clicks.user[searches.before]])

    order = np.lexsort((came, ts, user))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(user[order]) != 0) | (np.diff(ts[order]) != 0)
    index = np.arange(len(order))
    seq = (index - np.maximum.accumulate(np.where(new, index, 0))).astype(np.int32)
    is_rec = order < len(rec_click)
    rec, search = order[is_rec], order[~is_rec]
    return Log(
        rec_click=rec_click[rec],
        rec_label=(rec >= len(exposed)).astype(np.uint8),
        rec_item=rec_item[rec],
        rec_ts=ts[rec],
        rec_seq=seq[is_rec],
        search=search - len(rec_click),
        search_ts=ts[search],
        search_seq=seq[~is_rec],
    )


def make_vocabulary(params: Params, topics: Topics, names: Sequence[str]) -> Spelling:
    """Spells the words; data without text gets numbers. names: [words] spellings."""
    if not params.text:
        names = [f"{i:06d}" for i in range(topics.words)]
    order = np.argsort(np.array(names), kind="stable")
    token = np.zeros(len(names) + 1, np.int32)
    token[order] = np.arange(1, len(names) + 1)
    return Spelling([names[i] for i in order], token)


def make_items_table(
    params: Params, topics: Topics, items: Items, log: Log, results: np.ndarray, words: Spelling,
    category_names: Sequence[str], uniforms: Uniforms,
) -> pa.Table:  # fmt: skip
    """The catalogue; new items appear inside the time span, at the latest when first shown.

    results:        int32 [S, R] in table order
    category_names: names of the groups, then of the topics
    """
    n = params.items
    topic = items.topic[1:].astype(np.int64)
    group = topics.group[topic].astype(np.int64)
    times = np.concatenate([log.rec_ts, log.search_ts])
    first, last = int(times.min()), int(times.max())
    seen = np.full(n + 1, last, np.int64)
    np.minimum.at(seen, log.rec_item, log.rec_ts)
    np.minimum.at(seen, results, np.broadcast_to(log.search_ts[:, None], results.shape))
    old = first - DAY - uniforms.integers(700 * DAY, n)
    fresh = np.minimum(first + uniforms.integers(last - first + 1, n), seen[1:])
    names = pa.array(["all", *category_names])
    path = np.stack([np.zeros(n, np.int64), 1 + group, 1 + params.groups + topic], axis=1)
    tokens = words.token[items.words[1:]]
    return pa.table(
        {
            "item": np.arange(1, n + 1, dtype=np.int32),
            "raw_id": _raw_ids("i", n),
            "kind": pa.array(["item"]).take(pa.array(np.zeros(n, np.int64))),
            "title": _spell(params, tokens, words),
            "text_tok": list_column(tokens, tokens > 0),
            "cat_path": pa.ListArray.from_arrays(
                np.arange(0, 3 * n + 1, 3, dtype=np.int32), names.take(pa.array(path.ravel()))
            ),
            "cat_1": np.ones(n, np.int32),
            "cat_2": (group + 1).astype(np.int32),
            "cat_3": (topic + 1).astype(np.int32),
            "cat_4": np.zeros(n, np.int32),
            "brand": items.brand[1:] + np.int32(1),
            "author": np.zeros(n, np.int32),
            "created_ms": np.where(items.cold[1:], fresh, old),
        }
    )


def make_queries(
    params: Params, searches: Searches, log: Log, words: Spelling
) -> tuple[pa.Table, np.ndarray]:
    """The distinct queries and int32 [S], the query of each search row."""
    tokens = words.token[searches.words[log.search]]
    for column in range(1, tokens.shape[1]):  # a query has no word twice
        tokens[(tokens[:, :column] == tokens[:, [column]]).any(axis=1), column] = 0
    tokens = np.take_along_axis(tokens, np.argsort(tokens == 0, axis=1, kind="stable"), axis=1)
    distinct, query = np.unique(tokens, axis=0, return_inverse=True)
    table = pa.table(
        {
            "query": np.arange(1, len(distinct) + 1, dtype=np.int32),
            "text": _spell(params, distinct, words),
            "tok": list_column(distinct, distinct > 0),
        }
    )
    return table, (query.reshape(-1) + 1).astype(np.int32)


def make_event_tables(
    clicks: Clicks, searches: Searches, log: Log, query: np.ndarray,
    results: np.ndarray, clicked: np.ndarray, click_ts: np.ndarray,
) -> tuple[pa.Table, pa.Table]:  # fmt: skip
    """rec and search. results int32, clicked bool and click_ts int64, [S, R] in table order."""
    n_search = len(log.search)
    user = clicks.user[log.rec_click]
    sent = clicks.shown_ts[log.rec_click]
    request = np.cumsum((np.diff(sent, prepend=-1) != 0) | (np.diff(user, prepend=-1) != 0))
    rec = pa.table(
        {
            "user": (user + 1).astype(np.int32),
            "ts_ms": log.rec_ts,
            "seq": log.rec_seq,
            "item": log.rec_item,
            "label": log.rec_label,
            "actions": log.rec_label.astype(np.uint16),
            "request": request.astype(np.int64),
        }
    )
    full = results > 0
    search = pa.table(
        {
            "user": (clicks.user[searches.before[log.search]] + 1).astype(np.int32),
            "ts_ms": log.search_ts,
            "seq": log.search_seq,
            "session": np.arange(1, n_search + 1, dtype=np.int64),
            "query": query,
            "source": pa.array(["user"]).take(pa.array(np.zeros(n_search, np.int64))),
            "shown": list_column(results, full),
            "shown_kind": list_column(np.zeros(results.shape, np.uint8), full),
            "clicks": list_column(clicked.astype(np.uint16), full),
            "clicked": list_column(results, clicked),
            "click_ts": list_column(click_ts, clicked),
            "synthetic_query": np.zeros(n_search, bool),
        }
    )
    return rec, search


def spell_names(params: Params, topics: Topics, uniforms: Uniforms) -> tuple[list[str], list[str]]:
    """Spellings of all words, and sorted names of the groups and of the topics."""
    categories = params.groups + params.topics
    names = make_words(topics.words + categories, uniforms)
    groups = sorted(names[-categories : -params.topics])
    return names[:-categories], groups + sorted(names[-params.topics :])


def make_users_table(n: int) -> pa.Table:
    """The users; nothing is known about them."""
    return pa.table({"user": np.arange(1, n + 1, dtype=np.int32), "raw_id": _raw_ids("u", n)})


def list_column(values: np.ndarray, mask: np.ndarray) -> pa.ListArray:
    """One list per row of a matrix: the values where `mask` holds, from the left."""
    off = np.zeros(len(values) + 1, np.int32)
    np.cumsum(mask.sum(axis=1), out=off[1:])
    return pa.ListArray.from_arrays(pa.array(off), pa.array(values[mask]))


def _spell(params: Params, tokens: np.ndarray, words: Spelling) -> pa.Array:
    """The texts of a matrix of tokens, 0 = none; nothing for data without text."""
    if not params.text:
        return pa.nulls(len(tokens), pa.string())
    spelled = np.array(["", *words.words], object)
    return pa.array([" ".join(filter(None, row)) for row in spelled[tokens].tolist()], pa.string())


def _raw_ids(letter: str, n: int) -> pa.Array:
    """Names 1..n of one width, so that they sort as the numbers do."""
    numbers = pc.utf8_lpad(pa.array(np.arange(1, n + 1)).cast(pa.string()), len(str(n)), "0")
    return pc.binary_join_element_wise(letter, numbers, "")
