"""The planted truth of your own data, as tables beside those of `readers.tables`:

    interactions   user, item, time, intent          the topic that the user was after
    searches       user, query, time, topic, useful  what it was about; 1 = it was of use, or 0
    items          item, topic

A row is about the events that have its user, item or query, and time, written as in the raw tables:
their order does not matter, and copies of the raw tables with the new columns will do. Topics and
intents are names, or whole numbers, of one list. Source: ours; see docs/data.md.

Shapes: [n] rows of a file  [m] rows of the dataset's table
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from common.data.keys import rank_keys
from common.data.readers.table_columns import read_flags, read_ids, read_names
from common.data.readers.table_faults import Faults
from common.data.readers.table_files import SourceTable, TableForm, open_table
from common.data.readers.table_places import find_tables, list_parts
from common.data.readers.table_times import read_times
from common.data.readers.text_lines import describe_source
from common.data.schema import SourceTables
from common.data.vocabulary import find_ids, index_texts
from common.data.words import fold_query
from common.errors import InputError

KEYS = {
    "interactions": ("user", "item", "time"),
    "searches": ("user", "query", "time"),
    "items": ("item",),
}
ANSWERS = {"interactions": ("intent",), "searches": ("topic", "useful"), "items": ("topic",)}


class _Keys(NamedTuple):
    """What names events: the user (or item), the item or query, ms UTC. int, one length."""

    who: np.ndarray
    what: np.ndarray
    ts: np.ndarray


class _File(NamedTuple):
    """One of the three files, and what its rows say."""

    name: str  # of `KEYS`
    source: SourceTable
    answers: Mapping[str, np.ndarray]  # by column, [n] each


def add_truth(
    source: SourceTables, folder: Path, *, say: Callable[[str], None] = lambda line: None
) -> SourceTables:
    """The tables of a source with the planted truth of a folder.

    Every interaction with label 1, every search and every item needs a row.
    say: told what is going on
    Raises InputError naming file, row and column of the values that do not fit, of a row that is
    not in the data or contradicts an earlier one, and the first event without a row.
    """
    if not source.search.num_rows:
        raise InputError(f"{folder}: the data have no search that could be useful; leave it out")
    say(f"reading the truth in {folder}")
    faults, notes = Faults(), list[str]()
    files = _open_files(folder, faults)
    bought, searched, items = files.values()
    names = [read_ids(bought, "intent"), read_ids(searched, "topic"), read_ids(items, "topic")]
    topics = index_texts(pa.chunked_array(names))
    intent, topic, item_topic = (find_ids(texts, topics) for texts in names)
    useful = read_flags(searched, "useful")
    asked = [text and fold_query(text) for text in read_names(searched, "query").to_pylist()]
    raw_items = [read_ids(file, "item") for file in (bought, items)]
    keys = [(read_ids(f, "user"), read_times(f, "time", notes).ms) for f in (bought, searched)]
    faults.stop(folder)
    if not np.isin(intent, topic).any():
        raise InputError(
            f"{bought.path}, column intent: none is the topic of a search; use one list of names"
        )

    users, catalogue, queries = (
        source.table(name)[column].combine_chunks()
        for name, column in (("users", "raw_id"), ("items", "raw_id"), ("queries", "text"))
    )
    click = np.flatnonzero(source.rec["label"].to_numpy())
    everything = np.arange(source.search.num_rows)
    item = source.items["item"].to_numpy()
    taken, listed = (find_ids(ids, catalogue) for ids in raw_items)
    query = find_ids(pa.array(asked, pa.string()), queries)
    of_bought, of_searched = (
        _Keys(find_ids(who, users), what, ts)
        for (who, ts), what in zip(keys, (taken, query), strict=True)
    )
    of_click = _match(
        _File("interactions", bought, {"intent": intent}),
        of_bought,
        _Keys(*(source.rec[name].to_numpy() for name in ("user", "item", "ts_ms"))),
        click,
        users,
    )
    of_search = _match(
        _File("searches", searched, {"topic": topic, "useful": useful}),
        of_searched,
        _Keys(*(source.search[name].to_numpy() for name in ("user", "query", "ts_ms"))),
        everything,
        users,
    )
    of_item = _match(
        _File("items", items, {"topic": item_topic}),
        _Keys(listed, 0 * listed, 0 * listed),
        _Keys(item, 0 * item, 0 * item),
        item - 1,
        catalogue,
    )
    described = (
        describe_source(part, folder)
        for file in files.values()
        for part in (list_parts(file.path, Faults()) if file.path.is_dir() else [file.path])
    )
    return replace(
        source,
        truth={
            "rec": pa.table({"row": click, "intent": intent[of_click]}),
            "search": pa.table(
                {"row": everything, "topic": topic[of_search], "useful": useful[of_search]}
            ),
            "items": pa.table({"item": item, "topic": item_topic[of_item]}),
        },
        meta={
            **source.meta,
            "sources": [
                *source.meta["sources"],
                *(entry | {"file": f"{folder.name}/{entry['file']}"} for entry in described),
            ],
            "truth_params": {"topics": topics.to_pylist()},  # topic i is entry i - 1
        },
    )


def _open_files(folder: Path, faults: Faults) -> dict[str, SourceTable]:
    """The three files. Raises InputError where one is missing or cannot be opened."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; check --truth")
    paths, _ = find_tables(folder, list(KEYS), list(KEYS), faults)
    faults.stop(folder)
    files = {}
    for name in KEYS:
        form = TableForm((*KEYS[name], *ANSWERS[name]), texts=("query",))
        if (file := open_table(paths[name], form, faults, [])) is not None:
            files[name] = file
    faults.stop(folder)
    return files


def _match(
    file: _File, keys: _Keys, table: _Keys, needed: np.ndarray, raw_ids: pa.Array
) -> np.ndarray:
    """The row of the file, from 0, about each needed row of a table: int64, as `needed`.

    keys:    of the file, [n]; table: the table's, [m]
    needed:  int64, rows of the table; rows that have one key get the same row of the file
    raw_ids: of `table.who`, for errors
    Raises InputError for rows of the file that the table does not have or that contradict each
    other, and for needed rows without one.
    """
    columns = KEYS[file.name]
    named = " and ".join([", ".join(columns[:-1]), columns[-1]] if columns[1:] else columns)
    who, other, ts = (np.concatenate(pair) for pair in zip(table, keys, strict=True))
    ranks = rank_keys(who, other, ts, "source")  # equal where all three are
    of_table, of_file = ranks[: len(table.who)], ranks[len(table.who) :]
    in_table = np.zeros(len(ranks), bool)
    in_table[of_table] = True
    what = f"no row of the data's {file.name} has this {named}"
    source = file.source
    source.tell(~in_table[of_file], columns[0], what, "write them as in the raw tables")
    first = np.full(len(ranks), -1)
    first[of_file[::-1]] = np.arange(len(of_file))[::-1]
    for column, values in file.answers.items():
        what = f"is {{}}, an earlier row with this {named} says otherwise"
        source.tell(values != values[first[of_file]], column, what, "remove one")
    source.faults.stop(source.path.parent)
    found = first[of_table[needed]]
    missing = needed[found < 0]
    if len(missing):
        example = f"{columns[0]} {raw_ids[int(table.who[missing[0]]) - 1].as_py()!r}"
        if columns[1:]:
            example += f" at {np.datetime64(int(table.ts[missing[0]]), 'ms')}"
        raise InputError(
            f"{source.path}: {len(missing):,} of the {len(needed):,} {file.name} have no row, "
            f"first that of {example}; add them"
        )
    return found
