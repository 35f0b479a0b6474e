"""Your own data as three tables, each a .csv or .parquet file in one folder:

    interactions   user, item, time                       [label, seq]
    searches       user, query, time                      [clicked, shown, seq]
    items          item                                   [title, category, brand, text]

searches may be absent. See docs/your_data.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from common.data.click_times import WINDOW_MS, settle_clicks
from common.data.event_tables import (
    detect_resolution,
    number_events,
    tabulate_rec,
    tabulate_search,
)
from common.data.loading import make_rec_events
from common.data.readers.table_files import (
    SUFFIXES,
    SourceTable,
    open_table,
    read_flags,
    read_id_lists,
    read_ids,
    read_integers,
    read_names,
    read_paths,
    read_texts,
)
from common.data.readers.table_times import read_times
from common.data.readers.text_lines import describe_source
from common.data.schema import SourceTables
from common.data.vocabulary import (
    find_ids,
    index_texts,
    tabulate_items,
    tabulate_queries,
    tabulate_users,
)
from common.data.words import find_words, fold_query
from common.errors import InputError

COLUMNS = {  # name: (required, optional)
    "interactions": (("user", "item", "time"), ("label", "seq")),
    "searches": (("user", "query", "time"), ("clicked", "shown", "seq")),
    "items": (("item",), ("title", "category", "brand", "text")),
}


class _Events(NamedTuple):
    """What both event tables have, in file order."""

    user: pa.Array  # raw ids
    ts: np.ndarray  # int64, ms UTC
    seq: np.ndarray  # int64, the user's own order inside a tie, 0 without one


def read_tables(
    raw: Path,
    *,
    window_ms: int = WINDOW_MS,
    say: Callable[[str], None] = lambda line: None,
) -> SourceTables:
    """Reads interactions, searches and items.

    raw:       the folder of the files
    window_ms: how long after its search an interaction may be a click of it; see `settle_clicks`
    say:       told what is going on
    Raises InputError naming file, row and column of the first value that does not fit.
    """
    paths, notes = _find_files(raw)
    sources = {}
    for name, path in paths.items():
        say(f"reading {path.name}")
        sources[name] = open_table(path, *COLUMNS[name])
        if sources[name].ignored:
            notes.append(f"{path.name}: columns not read: {', '.join(sources[name].ignored)}")
        if not len(sources[name]) and name != "searches":
            raise InputError(f"{path}: has no rows; fill it")
    items, item_table = _read_items(sources["items"])
    bought, searched = sources["interactions"], sources.get("searches")
    rec = _Events(
        read_ids(bought, "user"), read_times(bought, "time"), read_integers(bought, "seq")
    )
    item = _find_items(bought, "item", read_ids(bought, "item"), items, None, sources["items"])
    if searched is None:
        search = _Events(pa.array([], pa.string()), np.zeros(0, np.int64), np.zeros(0, np.int64))
    else:
        search = _Events(
            read_ids(searched, "user"), read_times(searched, "time"), read_integers(searched, "seq")
        )
        notes.append("events of one time without a seq: interactions first, then searches")

    say("ordering events")
    users = index_texts(pa.chunked_array([rec.user, search.user]))
    user = np.concatenate([find_ids(rec.user, users), find_ids(search.user, users)])
    ts = np.concatenate([rec.ts, search.ts])
    came = np.empty(len(ts), np.int64)
    came[np.argsort(np.concatenate([rec.seq, search.seq]), kind="stable")] = np.arange(len(ts))
    order, seq = number_events(user, ts, came)
    is_rec = order < len(rec.ts)
    by_time = order[is_rec]
    label = read_flags(bought, "label")
    rec_table = tabulate_rec(user[by_time], ts[by_time], seq[is_rec], item[by_time], label[by_time])

    by_time = order[~is_rec]
    place = np.argsort(by_time)  # of each search of the file, its row in the table
    if searched is None:
        queries, tokens = tabulate_queries({})
        query = np.zeros(0, np.int32)
        off, shown, is_clicked = _no_results()
    else:
        queries, tokens, query = _read_queries(searched)
        off, shown, is_clicked = _read_results(searched, items, place, sources["items"], notes)
    clicker = np.repeat(by_time, np.diff(off))[is_clicked]  # where each clicked search stands
    click_ts, click_times = settle_clicks(
        make_rec_events(rec_table), user[clicker], ts[clicker], shown[is_clicked],
        np.full(len(clicker), -1), window_ms,
    )  # fmt: skip
    search_table = tabulate_search(
        user[by_time], ts[by_time], seq[~is_rec], query[by_time - len(rec.ts)],
        off, shown, is_clicked, click_ts, source="user", synthetic=False,
    )  # fmt: skip
    return SourceTables(
        users=tabulate_users(users),
        items=item_table,
        queries=queries,
        tokens=tokens,
        rec=rec_table,
        search=search_table,
        meta={
            "name": raw.resolve().name,
            "version": "1",
            "licence": "yours",
            "redistributable": False,
            "time_resolution": detect_resolution(ts),
            "sources": [describe_source(path) for path in paths.values()],
            "filters": {},
            "pseudo_query": None,
            "click_times": click_times,
            "notes": notes,
        },
    )


def _find_files(raw: Path) -> tuple[dict[str, Path], list[str]]:
    """The files by table, and notes on files that are not read."""
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder; check --raw")
    found: dict[str, Path] = {}
    for name in COLUMNS:
        paths = [path for end in SUFFIXES if (path := raw / f"{name}{end}").is_file()]
        if len(paths) > 1:
            raise InputError(f"{raw}: has {paths[0].name} and {paths[1].name}; remove one")
        if paths:
            found[name] = paths[0]
    notes = []
    for other in sorted(path for path in raw.iterdir() if path.suffix in SUFFIXES):
        if other not in found.values():
            missing = [name for name in COLUMNS if name not in found]
            if near := difflib.get_close_matches(other.stem.lower(), missing, 1, cutoff=0.7):
                raise InputError(f"{other}: not known, did you mean {near[0]}? rename it")
            notes.append(f"{other.name}: not read")
    for name in ("interactions", "items"):
        if name not in found:
            raise InputError(f"{raw}: has neither {name}.csv nor {name}.parquet; add one")
    return found, notes


def _read_items(source: SourceTable) -> tuple[pa.Array, pa.Table]:
    """Sorted raw ids, and the item table."""
    raw_ids = read_ids(source, "item")
    items = index_texts(raw_ids)
    ids = find_ids(raw_ids, items)
    rows = np.argsort(ids, kind="stable")
    repeated = np.zeros(len(ids), bool)
    repeated[rows[1:][np.diff(ids[rows]) == 0]] = True
    source.stop_at(repeated, "item", "{} stands in an earlier row", "remove one of the rows")
    titles, texts, brands = (
        [column[i] for i in rows]
        for column in (read_texts(source, name) for name in ("title", "text", "brand"))
    )
    paths = read_paths(source, "category")
    return items, tabulate_items(items, titles, texts, [paths[i] for i in rows], brands)


def _find_items(
    source: SourceTable, column: str, raw_ids: pa.Array, items: pa.Array,
    row: np.ndarray | None, catalogue: SourceTable,
) -> np.ndarray:  # fmt: skip
    """int32 ids of raw item ids; row: where each stands, None = one per row."""
    ids = find_ids(raw_ids, items)
    if not ids.all():
        first = int(np.argmin(ids != 0))
        bad = np.zeros(len(source), bool)
        bad[first if row is None else row[first]] = True
        what = f"item {raw_ids[first].as_py()!r} is in no row of {catalogue.path.name}"
        source.stop_at(bad, column, what, "add the item or drop the row")
    return ids


def _read_queries(source: SourceTable) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """queries, tokens and int32 query of each row. Queries of one `fold_query` are one."""
    encoded = read_names(source, "query").dictionary_encode()
    texts = [fold_query(text) for text in encoded.dictionary.to_pylist()]
    queries, tokens = tabulate_queries({text: find_words(text) for text in texts})
    ids = find_ids(pa.array(texts, pa.string()), queries["text"].combine_chunks())
    return queries, tokens, ids[np.asarray(encoded.indices)]


def _no_results() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, bool)


def _read_results(
    source: SourceTable,
    items: pa.Array,
    place: np.ndarray,
    catalogue: SourceTable,
    notes: list[str],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """off, shown and is_clicked as `tabulate_search` takes them.

    place: int64 [n], the table row of each row of the file. An item counts once per search;
    clicked items that were not shown follow those that were, and are noted.
    """
    rows, ids = [], []
    for column in ("shown", "clicked"):
        row, raw_ids = read_id_lists(source, column)
        ids.append(_find_items(source, column, raw_ids, items, row, catalogue))
        rows.append(place[row])
    row, item = np.concatenate(rows), np.concatenate(ids)
    code = row * (len(items) + 1) + item
    _, first, entry = np.unique(code, return_index=True, return_inverse=True)
    clicked = np.bincount(entry, weights=np.arange(len(row)) >= len(rows[0]), minlength=len(first))
    if "shown" in source and (unseen := int((first >= len(rows[0])).sum())):
        notes.append(f"{source.path.name}: {unseen:,} clicked items were not among those shown")
    order = np.lexsort((first, row[first]))
    off = np.searchsorted(row[first][order], np.arange(len(source) + 1))
    return off, item[first][order], clicked[order] > 0
