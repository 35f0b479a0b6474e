"""The items of a folder of tables, and the items that its events name.

Shapes: [n] rows  [x] items that events name
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.data.readers.table_columns import check_separators, read_ids, read_paths, read_texts
from common.data.readers.table_files import SourceTable
from common.data.readers.table_options import TableOptions
from common.data.vocabulary import find_ids, index_texts, tabulate_items

_SHOWN = 5


class Named(NamedTuple):
    """Items that a column names."""

    source: SourceTable
    column: str
    ids: pa.Array  # [x] raw ids; null where one was told
    row: np.ndarray  # int64 [x], ascending


class Catalogue(NamedTuple):
    """All items."""

    ids: pa.Array  # raw ids, sorted
    table: pa.Table  # as `tabulate_items` makes it
    named: list[np.ndarray]  # int32 [x]: of what events name, the ids


def read_catalogue(
    source: SourceTable, named: Sequence[Named], options: TableOptions, notes: list[str]
) -> Catalogue:
    """The items of the file, and with `add_missing_items` those that only events name.

    named: the items that events name; one that is in no row of the file is told, or added
    notes: told of items that were added
    """
    raw_ids = read_ids(source, "item")
    _tell_repeated(source, raw_ids)
    for entry in named:
        check_separators(source, raw_ids, entry.source, entry.column, options.list_separator)
    items = index_texts(raw_ids)
    found = [find_ids(entry.ids, items) for entry in named]
    if options.add_missing_items:
        added = _find_missing(raw_ids, named)
        if len(added):
            examples = [repr(text) for text in added[:_SHOWN].to_pylist()]
            notes.append(
                f"{source.path.name}: {len(added):,} items were added that only events name, "
                f"such as {', '.join(examples)}"
            )
            items = index_texts(pa.chunked_array([raw_ids, added]))
            found = [find_ids(entry.ids, items) for entry in named]
            notes += warn_of_decimals(added, raw_ids, "items that were added", source.path.name)
    elif source.can_read("item") and not source.partial and not raw_ids.null_count:
        for entry, ids in zip(named, found, strict=True):
            _tell_missing(source, items, entry, ids)
    rows = find_ids(items, raw_ids)
    return Catalogue(items, _tabulate(source, items, rows - 1, notes), found)


def warn_of_decimals(ids: pa.Array, others: pa.Array, what: str, where: str) -> list[str]:
    """A warning if ids are those of another table but for `.0`, which numbers with gaps get.

    ids, others: distinct or not, in any order
    what:        what the ids are, e.g. "users of searches.csv"
    where:       where the others are from
    """
    pairs = _pair_decimals(ids, others)
    if not pairs:
        return []
    [(one, other), *_] = pairs
    return [
        f"warning: {len(pairs):,} {what} are those of {where} but for .0, such as {one!r} and "
        f"{other!r}; they are taken as different"
    ]


def _pair_decimals(ids: pa.Array, others: pa.Array) -> list[tuple[str, str]]:
    """Ids that are not in `others`, but are with .0 added or removed."""
    if not any(pc.any(pc.ends_with(texts, ".0")).as_py() for texts in (ids, others)):
        return []
    distinct = pc.unique(ids).drop_null()
    alone = distinct.filter(pc.invert(pc.is_in(distinct, value_set=others)))
    whole = pc.match_substring_regex(alone, r"^\d+$")
    decimal = pc.match_substring_regex(alone, r"^\d+\.0$")
    changed = pc.if_else(whole, pc.binary_join_element_wise(alone, "0", "."),
                         pc.replace_substring_regex(alone, r"\.0$", ""))  # fmt: skip
    found = pc.and_(pc.or_(whole, decimal), pc.is_in(changed, value_set=others))
    both = [texts.filter(found).to_pylist() for texts in (alone, changed)]
    return list(zip(*both, strict=True))


def _tell_repeated(source: SourceTable, raw_ids: pa.Array) -> None:
    ids = find_ids(raw_ids, index_texts(raw_ids))
    rows = np.argsort(ids, kind="stable")
    repeated = np.zeros(len(ids), bool)
    repeated[rows[1:][np.diff(ids[rows]) == 0]] = True
    repeated &= ids > 0
    source.tell(repeated, "item", "{} stands in an earlier row", "remove one of the rows")


def _find_missing(items: pa.Array, named: Sequence[Named]) -> pa.Array:
    """Distinct ids that no row of items has, sorted."""
    ids = index_texts(pa.chunked_array([entry.ids for entry in named], pa.string()))
    return ids.filter(pc.invert(pc.is_in(ids, value_set=items)))


def _tell_missing(source: SourceTable, items: pa.Array, named: Named, ids: np.ndarray) -> None:
    missing = (ids == 0) & np.asarray(named.ids.is_valid())
    if not missing.any():
        return
    at = np.flatnonzero(missing)
    codes = named.ids.take(pa.array(at)).dictionary_encode()
    _, first = np.unique(np.asarray(codes.indices), return_index=True)
    bad = np.zeros(len(missing), bool)
    bad[at[first]] = True
    distinct, rows = len(first), len(np.unique(named.row[at]))
    what = f"item {{}} is in no row of {source.path.name}"
    mend = "add the item, drop the row, or use --add_missing_items for items without texts"
    if pairs := _pair_decimals(codes.dictionary, items):
        what += f", which has {pairs[0][1]!r} but not {pairs[0][0]!r}"
        mend = "write ids the same way in all tables"
    elif codes.dictionary[0].as_py().startswith("["):
        mend = "write a list as ids with blanks or | between them, without brackets"
    unit = f"{'id' if distinct == 1 else 'ids'} in {rows:,} rows"
    named.source.tell(bad, named.column, what, mend, values=named.ids, rows=named.row,
                      counted=(distinct, unit) if rows > 1 or distinct > 1 else None)  # fmt: skip


def _tabulate(source: SourceTable, items: pa.Array, rows: np.ndarray, notes: list[str]) -> pa.Table:
    """The item table; rows: of each item its row in the file, -1 for one that was added."""
    titles, texts, brands = (
        [None if row < 0 else column[row] for row in rows]
        for column in (read_texts(source, name) for name in ("title", "text", "brand"))
    )
    paths = read_paths(source, "category", notes)
    return tabulate_items(
        items, titles, texts, [[] if row < 0 else paths[row] for row in rows], brands
    )
