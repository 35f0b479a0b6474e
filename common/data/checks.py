"""Checks of a dataset folder, with the ids of the audit's report. The first fault stops.

F03 id out of range   F04 id not in its vocabulary   F05 repeated key   F06 lists not parallel
F07 events not sorted, or a click before its search
F08 split rows overlap, are out of range or missing
F11 broken candidate list   F12 parts of a user overlap in time   F15 file is not what was stored
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.bounds import END_MS, LAST_YEAR
from common.data.events import PARTS, TASKS, RecEvents, SearchEvents
from common.data.schema import VOCABULARIES
from common.data.splits import check_joint_invariant
from common.errors import InputError

_AGAIN = "prepare the dataset again"
# Columns with ids, the vocabulary they point into, and whether 0 = "none" may occur.
_REFERENCES = (
    ("rec", "user", "users"), ("rec", "item", "items"),
    ("search", "user", "users"), ("search", "query", "queries"),
    ("search", "shown", "items"), ("search", "clicked", "items"),
    ("queries", "tok", "tokens"), ("items", "text_tok", "tokens"),
)  # fmt: skip


def check_tables(tables: Mapping[str, pa.Table]) -> None:
    """Checks the canonical tables. Raises InputError naming table, row and column (F03 to F07)."""
    for name, column in VOCABULARIES.items():
        _check_vocabulary(name, column, tables[name])
    for name, column, vocabulary in _REFERENCES:
        _check_references(name, column, tables[name], tables[vocabulary].num_rows)
    labels = tables["rec"]["label"].to_numpy()
    _stop_at(labels > 1, "rec", "label", "F03", "is neither 0 nor 1")
    _check_parallel(tables["search"])
    for name, column in (("rec", "ts_ms"), ("search", "ts_ms"), ("search", "click_ts")):
        _check_range(name, column, tables[name])
    for name in TASKS:
        _check_sorted(name, tables[name])


def check_split(
    where: str,
    rows: Mapping[tuple[str, str], np.ndarray],
    rec: RecEvents,
    search: SearchEvents,
    history_order: str,
    *,
    joint: bool,
) -> None:
    """Checks a split's row numbers (F08) and, for a joint split, its order in time (F12).

    where: how messages begin, e.g. "split leave_one_out_joint"
    Raises InputError.
    """
    for task, positive in zip(TASKS, (rec.positive, search.positive), strict=True):
        total = len(positive)
        for part in PARTS:
            listed = rows[task, part]
            here = f"{where}, {task}_{part}"
            if len(listed) and (listed.min() < 0 or listed.max() >= total):
                raise InputError(f"{here}: row outside the table of {total:,} rows (F08); {_AGAIN}")
            if (np.diff(listed) <= 0).any():
                raise InputError(f"{here}: rows are not ascending (F08); {_AGAIN}")
            if not positive[listed].all():
                row = int(listed[~positive[listed]][0]) + 1
                raise InputError(f"{here}: row {row} is no positive (F08); {_AGAIN}")
        everything = np.sort(np.concatenate([rows[task, part] for part in PARTS]))
        twice = everything[1:][np.diff(everything) == 0]
        if len(twice):
            raise InputError(f"{where}, {task}: row {twice[0] + 1} stands twice (F08); {_AGAIN}")
    for part in PARTS:
        if not any(len(rows[task, part]) for task in TASKS):
            raise InputError(
                f"{where}: has no {part} rows (F08); leave-one-out needs users with positives at "
                "three different times: give more data, or other --splits, --t1 and --t2"
            )
    if joint:
        for bad in check_joint_invariant(rec, search, rows, history_order):
            (task, part, row), (later_task, later_part, later_row) = bad.earlier, bad.later
            raise InputError(
                f"{where}: {task} row {row + 1} of {part} is not before {later_task} row "
                f"{later_row + 1} of {later_part} (F12); {_AGAIN}"
            )


def check_lists(where: str, lists: np.ndarray, targets: np.ndarray, n_items: int) -> None:
    """Checks candidate lists, integers [n, 1 + k], k >= 1, positive in column 0.

    Raises InputError (F11).
    """
    if lists.shape[0] != len(targets) or lists.shape[1] < 2:
        shape = " x ".join(map(str, lists.shape))
        raise InputError(
            f"{where}: is {shape}, not {len(targets)} lists of a positive and negatives (F11); "
            f"{_AGAIN}"
        )
    ordered = np.sort(lists, axis=1)
    for bad, what in (
        (lists[:, 0] != targets, "does not begin with its positive"),
        ((np.diff(ordered, axis=1) == 0).any(axis=1), "has an item twice"),
        ((ordered[:, 0] < 1) | (ordered[:, -1] > n_items), "has an id outside the catalogue"),
    ):
        if bad.any():
            raise InputError(f"{where}: list {int(np.argmax(bad)) + 1} {what} (F11); {_AGAIN}")


def count_warnings(tables: Mapping[str, pa.Table], tie_share: float) -> dict[str, float]:
    """What is worth knowing but no fault, by name: counts, and the share of ties."""
    rec, search, items = tables["rec"], tables["search"], tables["items"]
    positive = rec.filter(pc.equal(rec["label"], 1))
    pairs = positive.select(["user", "item"]).group_by(["user", "item"]).aggregate([])
    buyers, searchers = (np.unique(table["user"].to_numpy()) for table in (positive, search))
    times = np.concatenate([table["ts_ms"].to_numpy() for table in (rec, search)])
    middle = float(np.median(times)) if len(times) else 0.0
    clicks, words = (
        pc.list_value_length(lists) for lists in (search["clicked"], tables["queries"]["tok"])
    )
    found = {
        "repeated (user, item) in rec": positive.num_rows - pairs.num_rows,
        "searches without a click": _count(pc.equal(clicks, 0)),
        "queries without a word": _count(pc.equal(words, 0)),
        "items without a title": items["title"].null_count,
        "items without a category": _count(pc.equal(items["cat_1"], 0)),
        "users in rec only": len(np.setdiff1d(buyers, searchers)),
        "users in search only": len(np.setdiff1d(searchers, buyers)),
        # Seconds read as milliseconds end in January 1970.
        "median time outside 1995 to 2100": int(not 788918400000 <= middle <= 4102444800000),
        "share of tied times above 0.05": round(tie_share, 6) if tie_share > 0.05 else 0,
    }
    return {name: value for name, value in found.items() if value}


def _count(mask: pa.ChunkedArray) -> int:
    return int(pc.sum(mask).as_py() or 0)


def _stop_at(bad: np.ndarray, table: str, column: str, check: str, what: str) -> None:
    if bad.any():
        row = int(np.argmax(bad)) + 1
        raise InputError(f"{table}.parquet, row {row}, column {column}: {what} ({check}); mend it")


def _check_vocabulary(name: str, column: str, table: pa.Table) -> None:
    ids = table[column].to_numpy()
    _stop_at(ids != np.arange(1, len(ids) + 1), name, column, "F03", "ids are not 1, 2, 3, ...")
    for key in {"users": ["raw_id"], "items": ["raw_id"], "tokens": ["word"]}.get(name, []):
        _stop_at(_find_repeats(table[key]), name, key, "F05", "stands twice")
    if name == "queries":  # a query is its text or, where it has none, its tokens
        repeats = _find_repeats(table["text"]) & table["text"].is_valid().to_numpy()
        _stop_at(repeats, name, "text", "F05", "stands twice")
        if table["text"].null_count:
            unnamed = table["tok"].filter(table["text"].is_null())
            texts = pc.binary_join(unnamed.cast(pa.list_(pa.string())), " ")
            repeats = np.zeros(len(ids), bool)
            repeats[table["text"].is_null().to_numpy()] = _find_repeats(texts)
            _stop_at(repeats, name, "tok", "F05", "stands twice")


def _find_repeats(values: pa.ChunkedArray) -> np.ndarray:
    """bool: values that occurred in an earlier row."""
    codes = pc.index_in(values, value_set=pc.unique(values)).to_numpy()
    _, first = np.unique(codes, return_index=True)
    repeats = np.ones(len(codes), bool)
    repeats[first] = False
    return repeats


def _check_references(name: str, column: str, table: pa.Table, size: int) -> None:
    values = table[column]
    if pa.types.is_list(values.type):
        lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy()
        flat, row = pc.list_flatten(values).to_numpy(), np.repeat(np.arange(len(lengths)), lengths)
    else:
        flat, row = values.to_numpy(), np.arange(table.num_rows)
    for bad, check, what in (
        (flat < 1, "F03", "id is not positive"),
        (flat > size, "F04", f"id is larger than its vocabulary of {size:,}"),
    ):
        if bad.any():
            marked = np.zeros(table.num_rows, bool)
            marked[row[bad]] = True
            _stop_at(marked, name, column, check, what)


def _check_parallel(search: pa.Table) -> None:
    lengths = {
        name: pc.fill_null(pc.list_value_length(search[name]), -1).to_numpy()
        for name in ("shown", "shown_kind", "clicks", "clicked", "click_ts")
    }
    for one, other in (("shown_kind", "shown"), ("clicks", "shown"), ("click_ts", "clicked")):
        bad = (lengths[one] != lengths[other]) & (lengths[one] >= 0)
        _stop_at(bad, "search", one, "F06", f"has not the length of {other}")


def check_clicks(search: SearchEvents) -> None:
    """No click comes before its search. Raises InputError naming the row (F07)."""
    early = find_early_clicks(search)
    _stop_at(early, "search", "click_ts", "F07", "has a click before its search")


def find_early_clicks(search: SearchEvents) -> np.ndarray:
    """bool [S]: searches with a click that came before them."""
    early = np.zeros(len(search.user), bool)
    early[search.click_search[search.click_ts < search.ts[search.click_search]]] = True
    return early


def _check_range(name: str, column: str, table: pa.Table) -> None:
    values, row = table[column], np.arange(table.num_rows)
    if pa.types.is_list(values.type):
        row = np.repeat(row, pc.fill_null(pc.list_value_length(values), 0).to_numpy())
        values = pc.list_flatten(values)
    far = np.zeros(table.num_rows, bool)
    times = values.to_numpy()
    far[row[~((times >= 0) & (times < END_MS))]] = True  # so said, it finds nulls too
    what = f"is no time, in ms: below 0, or after the year {LAST_YEAR}"
    _stop_at(far, name, column, "F07", what)


def _check_sorted(name: str, table: pa.Table) -> None:
    user, ts, seq = (table[column].to_numpy() for column in ("user", "ts_ms", "seq"))
    back = np.zeros(len(user), bool)
    same_user = np.diff(user) == 0
    later = (np.diff(ts) < 0) | ((np.diff(ts) == 0) & (np.diff(seq) < 0))
    back[1:] = (np.diff(user) < 0) | (same_user & later)
    _stop_at(back, name, "ts_ms", "F07", "comes before the row above it in (user, ts_ms, seq)")
