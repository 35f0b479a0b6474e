"""Your own data as three tables in one folder:

    interactions   user, item, time                       [label, seq]
    searches       user, query, time                      [clicked, click_times, shown, seq]
    items          item                                   [title, category, brand, text]

Each is a .csv, .tsv or .jsonl file (maybe .gz), a .parquet file or a folder of Parquet files.
searches may be absent. See docs/your_data.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from common.data.click_times import settle_clicks
from common.data.clocks import Acts, compare_clocks
from common.data.event_tables import (
    detect_resolution,
    number_events,
    tabulate_rec,
    tabulate_search,
)
from common.data.loading import make_rec_events
from common.data.readers.table_catalogue import Named, read_catalogue, warn_of_decimals
from common.data.readers.table_columns import (
    read_flags,
    read_id_lists,
    read_ids,
    read_integers,
    read_names,
)
from common.data.readers.table_faults import Faults
from common.data.readers.table_files import SourceTable, TableForm, open_table
from common.data.readers.table_options import TableOptions, read_renames
from common.data.readers.table_places import find_tables, list_parts
from common.data.readers.table_times import TimeLists, Times, read_click_times, read_times
from common.data.readers.text_lines import describe_source
from common.data.schema import SourceTables
from common.data.vocabulary import find_ids, index_texts, tabulate_queries, tabulate_users
from common.data.words import find_words, fold_query

COLUMNS = {
    "interactions": TableForm(("user", "item", "time"), ("label", "seq")),
    "searches": TableForm(
        ("user", "query", "time"), ("clicked", "click_times", "shown", "seq"), ("query",)
    ),
    "items": TableForm(
        ("item",),
        ("title", "category", "brand", "text"),
        ("title", "category", "brand", "text"),
        prose=True,
    ),
}
_NEVER = np.iinfo(np.int64).max


class _Events(NamedTuple):
    """What both event tables have, in file order."""

    user: pa.Array  # raw ids
    time: Times
    seq: np.ndarray  # int64, the user's own order inside a tie, 0 without one


class _Lists(NamedTuple):
    """The lists of the searches, in file order."""

    shown: Named
    clicked: Named
    click_times: TimeLists  # parallel to clicked


class _Results(NamedTuple):
    """What the searches showed, in the order of the search table."""

    off: np.ndarray  # off, shown and is_clicked as `tabulate_search` takes them
    shown: np.ndarray
    is_clicked: np.ndarray
    click_ts: np.ndarray  # int64, of each clicked item the time that the file gives, -1 = none


def read_tables(
    raw: Path,
    options: TableOptions | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> SourceTables:
    """Reads interactions, searches and items.

    raw: the folder of the files
    say: told what is going on
    Raises InputError with all that is wrong: of each kind the file, column and first five rows.
    """
    options = options or TableOptions()
    faults, notes = Faults(), list[str]()
    sources, paths = _open_tables(raw, options, faults, notes, say)
    bought, searched, listed = (sources[name] for name in COLUMNS)
    say("reading columns")
    rec, search = _read_events(bought, notes), _read_events(searched, notes)
    label = read_flags(bought, "label")
    query_text = read_names(searched, "query")
    item = Named(bought, "item", read_ids(bought, "item"), np.arange(len(bought)))
    lists = _read_lists(searched, search.time, options, notes)
    catalogue = read_catalogue(listed, (item, lists.shown, lists.clicked), options, notes)
    faults.stop(raw)
    notes += _compare_tables(rec, search, paths)

    say("ordering events")
    users = index_texts(pa.chunked_array([rec.user, search.user]))
    user = np.concatenate([find_ids(rec.user, users), find_ids(search.user, users)])
    ts = np.concatenate([rec.time.ms, search.time.ms])
    came = np.empty(len(ts), np.int64)
    came[np.argsort(np.concatenate([rec.seq, search.seq]), kind="stable")] = np.arange(len(ts))
    order, seq = number_events(user, ts, came)
    is_rec = order < len(bought)
    by_time = order[is_rec]
    bought_item, *listed_items = catalogue.named
    items = bought_item[by_time]
    rec_table = tabulate_rec(user[by_time], ts[by_time], seq[is_rec], items, label[by_time])
    bought_by = Acts(user[by_time], items, ts[by_time])

    by_time = order[~is_rec]
    place = np.argsort(by_time)  # of each search of the file, its row in the table
    queries, tokens, query = _read_queries(query_text)
    results = _read_results(lists, listed_items, place, notes)
    clicker = np.repeat(by_time, np.diff(results.off))[results.is_clicked]  # its search
    clicks = Acts(user[clicker], results.shown[results.is_clicked], ts[clicker])
    window_ms = round(1000 * options.click_window)
    click_ts, click_times = settle_clicks(
        make_rec_events(rec_table), *clicks, results.click_ts, window_ms
    )
    search_table = tabulate_search(
        user[by_time], ts[by_time], seq[~is_rec], query[by_time - len(bought)], results.off,
        results.shown, results.is_clicked, click_ts, source="user", synthetic=False,
    )  # fmt: skip
    if "searches" in paths:
        notes.append("events of one time without a seq: interactions first, then searches")
        names = (paths["interactions"].name, paths["searches"].name)
        notes += compare_clocks(bought_by, clicks, search.time.ms, names)
    return SourceTables(
        users=tabulate_users(users),
        items=catalogue.table,
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
            "sources": [describe_source(file, raw) for file in _list_files(paths.values())],
            "filters": {},
            "pseudo_query": None,
            "click_times": click_times,
            "notes": notes,
        },
    )


def _open_tables(
    raw: Path,
    options: TableOptions,
    faults: Faults,
    notes: list[str],
    say: Callable[[str], None],
) -> tuple[dict[str, SourceTable], dict[str, Path]]:
    """The tables, an empty one for each that is missing or cannot be read; and the files."""
    known = {name: (*form.required, *form.optional) for name, form in COLUMNS.items()}
    renamed = read_renames(options.columns, known)
    paths, others = find_tables(raw, list(COLUMNS), ("interactions", "items"), faults)
    notes += others
    sources = {}
    for name, form in COLUMNS.items():
        source = None
        if name in paths:
            say(f"reading {paths[name].name}")
            source = open_table(paths[name], form, faults, notes, renamed[name])
            if source is not None and not len(source) and name != "searches":
                faults.tell(f"{paths[name]}: has no rows; fill it")
        sources[name] = source or SourceTable(raw / name, 0, pa.table({}), faults)
    for pair in options.columns:
        column, _, wanted = pair.partition("=")
        table, _, column = column.strip().rpartition(".")
        used = [sources[name] for name in ([table] if table else COLUMNS)]
        if not any(source.names.get(column) == wanted.strip() for source in used if source.names):
            faults.tell(f"--columns={pair}: no file has a column {wanted}; check the name")
    return sources, paths


def _list_files(paths: Iterable[Path]) -> list[Path]:
    """The files, and those in folders."""
    return [
        file for path in paths for file in (list_parts(path, Faults()) if path.is_dir() else [path])
    ]


def _read_events(source: SourceTable, notes: list[str]) -> _Events:
    return _Events(
        read_ids(source, "user"), read_times(source, "time", notes), read_integers(source, "seq")
    )


def _read_lists(
    source: SourceTable, time: Times, options: TableOptions, notes: list[str]
) -> _Lists:
    shown, clicked = (
        Named(source, column, ids, row)
        for column in ("shown", "clicked")
        for row, ids in [read_id_lists(source, column, options.list_separator)]
    )
    click_times = read_click_times(source, clicked.row, time, options.list_separator, notes)
    return _Lists(shown, clicked, click_times)


def _compare_tables(rec: _Events, search: _Events, paths: Mapping[str, Path]) -> list[str]:
    """Warnings about ids and times that the two event tables seem to write in two ways."""
    if "searches" not in paths:
        return []
    bought, searched = paths["interactions"].name, paths["searches"].name
    notes = warn_of_decimals(search.user, rec.user, f"users of {searched}", bought)
    zones = {rec.time.zoned, search.time.zoned}
    if zones == {True, False}:
        one, other = (bought, searched) if rec.time.zoned else (searched, bought)
        notes.append(
            f"warning: times of {one} name a zone, those of {other} do not and are taken as UTC"
        )
    return notes


def _read_queries(names: pa.Array) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """queries, tokens and int32 query of each row. Queries of one `fold_query` are one."""
    encoded = names.dictionary_encode()
    texts = [fold_query(text) for text in encoded.dictionary.to_pylist()]
    queries, tokens = tabulate_queries({text: find_words(text) for text in texts})
    ids = find_ids(pa.array(texts, pa.string()), queries["text"].combine_chunks())
    return queries, tokens, ids[np.asarray(encoded.indices)]


def _read_results(
    lists: _Lists, items: Sequence[np.ndarray], place: np.ndarray, notes: list[str]
) -> _Results:
    """What each search showed and got clicked, and when.

    items: the ids of those shown and of those clicked
    place: int64 [n], the table row of each row of the file. An item counts once per search, with
    the first of its times; clicked items that were not shown follow those that were, and are
    noted.
    """
    shown, clicked, times = lists
    row = place[np.concatenate([shown.row, clicked.row])]
    item = np.concatenate(items)
    code = row * (int(item.max(initial=0)) + 1) + item
    _, first, entry = np.unique(code, return_index=True, return_inverse=True)
    before = len(shown.row)
    is_clicked = np.bincount(entry[before:], minlength=len(first)) > 0
    earliest = np.full(len(first), _NEVER)
    np.minimum.at(earliest, entry[before:][times.given], times.ms[times.given])
    if "shown" in shown.source and (unseen := int((first >= before).sum())):
        name = shown.source.path.name
        notes.append(f"{name}: {unseen:,} clicked items were not among those shown")
    order = np.lexsort((first, row[first]))
    off = np.searchsorted(row[first][order], np.arange(len(place) + 1))
    is_clicked, click_ts = is_clicked[order], earliest[order]
    click_ts = np.where(click_ts == _NEVER, -1, click_ts)[is_clicked]
    return _Results(off, item[first][order], is_clicked, click_ts)
