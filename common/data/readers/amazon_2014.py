"""Amazon reviews, 2014 release: reviews_<Category>_5.json.gz and meta_<Category>.json.gz.

Reviews are JSON lines, metadata are Python literals. A review is a purchase, at midnight UTC of
its day. Ratings and review texts are not read. Searches are pseudo-queries made from the
category paths (`common.data.pseudo_queries`).
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from common.bounds import END_MS, LAST_YEAR, LONGEST_LITERAL, check_values
from common.data.event_tables import (
    detect_resolution,
    number_events,
    tabulate_rec,
    tabulate_search,
)
from common.data.pseudo_queries import Recipe, make_item_queries, split_purchases
from common.data.readers.amazon_order import place_in_order
from common.data.readers.table_faults import show_value
from common.data.readers.text_lines import describe_source, read_lines
from common.data.schema import SourceTables
from common.data.vocabulary import (
    find_ids,
    index_texts,
    tabulate_items,
    tabulate_queries,
    tabulate_users,
)
from common.errors import InputError

_ASIN = re.compile(r"\{'asin': '(\w+)'")


class Reviews(NamedTuple):
    """The purchases in file order."""

    user: list[str]  # raw ids
    item: list[str]
    ts: np.ndarray  # int64, ms UTC


class Metadata(NamedTuple):
    """What is known about one item."""

    title: str | None
    text: str | None
    brand: str | None
    paths: tuple[tuple[str, ...], ...]  # categories, root first


def read_amazon(
    raw: Path,
    category: str | None = None,
    *,
    recipe: Recipe | None = None,
    seed: int = 0,
    order: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> SourceTables:
    """Reads one category.

    raw:      folder of the two files
    category: e.g. "Beauty"; None = the only one in the folder
    recipe:   how pseudo-queries are made; None = the defaults
    seed:     of the recipe's draws
    order:    a file with one user a line, raw user id and then raw item ids, which decides the
              order inside a day; None = file order, which is the published order of Beauty
    say:      told what is going on
    Raises InputError for a file that is missing, damaged or not what it should be.
    """
    recipe = recipe or Recipe()
    reviews_path, meta_path = _find_files(raw, category)
    say(f"reading {reviews_path.name}")
    reviews = read_reviews(reviews_path)
    users, items = (index_texts(pa.array(ids)) for ids in (reviews.user, reviews.item))
    user, item = find_ids(pa.array(reviews.user), users), find_ids(pa.array(reviews.item), items)
    say(f"reading {meta_path.name}")
    metadata, ignored = read_metadata(meta_path, frozenset(items.to_pylist()))
    unknown = Metadata(None, None, None, ())
    known = [metadata.get(raw_id, unknown) for raw_id in items.to_pylist()]

    notes = []
    in_file = np.arange(len(user))
    if recipe.mode == "copy":
        notes.append("a purchase and the search made from it share time and place in the order")
    if order is None:
        came = in_file
        notes.append("source order = file order")
    else:
        came, early = place_in_order(order, users, items, user, item, reviews.ts)
        changed = _count_changed(user, item, reviews.ts, in_file, came)
        what = f"other than file order for {changed:,} of {len(users):,} users"
        if not changed:
            what = f"file order for all {len(users):,} users, so --order is not needed"
        notes.append(f"source order = {order.name}: {what}; {early:,} of its steps go back in time")
        say(notes[-1])
    say("making pseudo-queries")
    by_time, seq = number_events(user, reviews.ts, came)
    user, item, ts = user[by_time], item[by_time], reviews.ts[by_time]
    rec, search, queries, tokens = _make_events(user, item, ts, seq, known, recipe, seed)
    missing = len(items) - len(metadata)
    return SourceTables(
        users=tabulate_users(users),
        items=tabulate_items(
            items,
            [meta.title for meta in known],
            [meta.text for meta in known],
            [meta.paths[0] if meta.paths else () for meta in known],
            [meta.brand for meta in known],
        ),
        queries=queries,
        tokens=tokens,
        rec=rec,
        search=search,
        meta={
            "name": f"amazon_{_category_of(reviews_path).lower()}_2014",
            "version": "2014, 5-core",
            "licence": "none given; research use, cite the source",
            "redistributable": False,
            "time_resolution": detect_resolution(ts),
            "sources": [
                describe_source(path)
                for path in (reviews_path, meta_path, order)
                if path is not None
            ],
            "filters": {
                "reviews": {"before": len(user), "after": len(user)},
                "metadata_rows": {"before": ignored + len(metadata), "after": len(metadata)},
                "items_without_metadata": missing,
            },
            "pseudo_query": recipe.describe() | {"seed": seed},
            "notes": notes,
        },
    )


def _count_changed(
    user: np.ndarray, item: np.ndarray, ts: np.ndarray, one: np.ndarray, other: np.ndarray
) -> int:
    """Users whose items come in another order with `other` than with `one`, inside equal times."""
    first, second = (number_events(user, ts, came)[0] for came in (one, other))
    return len(np.unique(user[first][item[first] != item[second]]))


def read_reviews(path: Path) -> Reviews:
    """Reads users, items and times. Raises InputError naming file, row and column."""
    columns: dict[str, list[Any]] = {"reviewerID": [], "asin": [], "unixReviewTime": []}
    for row, line in read_lines(path):
        try:
            check_values(line)
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            raise InputError(f"{path}, row {row}: is no JSON object; repair or remove the line")
        for column, values in columns.items():
            value = _take(path, row, record, column, int if column[0] == "u" else str)
            if column[0] == "u" and not 0 < value * 1000 < END_MS:
                what = f"{show_value(value)} is no time in seconds up to the year {LAST_YEAR}"
                raise InputError(f"{path}, row {row}, column {column}: {what}; mend it")
            values.append(value)
    user, item, seconds = columns.values()
    if not user:
        raise InputError(f"{path}: has no reviews; download it again")
    return Reviews(user, item, np.asarray(seconds, np.int64) * 1000)


def read_metadata(path: Path, wanted: frozenset[str]) -> tuple[dict[str, Metadata], int]:
    """Reads the metadata of the wanted items, by raw id; of duplicates the first.

    Returns it with the number of rows that were not used. Raises InputError naming file, row and
    column.
    """
    found: dict[str, Metadata] = {}
    rows = 0
    for row, line in read_lines(path):
        rows = row
        # The release has metadata for twenty times the items of a 5-core; parsing is slow.
        start = _ASIN.match(line)
        if start and (start[1] not in wanted or start[1] in found):
            continue
        record = _parse_literal(path, row, line)
        asin = _take(path, row, record, "asin", str)
        if asin in wanted and asin not in found:
            found[asin] = _read_item(path, row, record)
    if not rows:
        raise InputError(f"{path}: has no rows; download it again")
    return found, rows - len(found)


def _parse_literal(path: Path, row: int, line: str) -> dict[str, Any]:
    if len(line) > LONGEST_LITERAL:
        raise InputError(
            f"{path}, row {row}: longer than {LONGEST_LITERAL:,} characters; shorten or remove it"
        )
    try:
        record = ast.literal_eval(line)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise InputError(f"{path}, row {row}: is no Python literal; repair or remove the line")
    return record


def _read_item(path: Path, row: int, record: dict[str, Any]) -> Metadata:
    texts = {
        key: html.unescape(_take(path, row, record, key, str)).strip() or None
        for key in ("title", "description", "brand")
        if record.get(key) not in (None, "")
    }
    paths = _take(path, row, record, "categories", list)
    for name in (name for p in paths if isinstance(p, list) for name in p):
        _check_text(path, row, "categories", name)
    if not all(isinstance(p, list) and all(isinstance(name, str) for name in p) for p in paths):
        raise InputError(
            f"{path}, row {row}, column categories: is no list of lists of names; mend the line"
        )
    return Metadata(
        texts.get("title"),
        texts.get("description"),
        texts.get("brand"),
        tuple(tuple(html.unescape(name).strip() for name in p) for p in paths if p),
    )


def _take(path: Path, row: int, record: dict[str, Any], key: str, kind: type) -> Any:
    """The value of a key; must be there, of its type and not empty."""
    if key not in record:
        raise InputError(f"{path}, row {row}, column {key}: missing; add it or remove the line")
    value = record[key]
    if type(value) is not kind or value == "":
        raise InputError(
            f"{path}, row {row}, column {key}: {str(value)[:40]!r} is no {kind.__name__}; mend it"
        )
    _check_text(path, row, key, value)
    return value


def _check_text(path: Path, row: int, key: str, value: Any) -> None:
    """Half of a character outside the basic plane, as in "\\ud83d", is in no text of a table."""
    try:
        if isinstance(value, str):
            value.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{path}, row {row}, column {key}: {ascii(value)[:60]} has half of a character "
            "(a lone surrogate); mend or remove it"
        ) from None


def _make_events(
    user: np.ndarray, item: np.ndarray, ts: np.ndarray, seq: np.ndarray,
    known: list[Metadata], recipe: Recipe, seed: int,
) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:  # fmt: skip
    """rec, search, queries and tokens from purchases in table order."""
    of_item = [make_item_queries(meta.paths, recipe) for meta in known]
    listed = [query for some in of_item for query in some]
    queries, tokens = tabulate_queries({" ".join(query): query for query in listed})
    texts = pa.array([" ".join(query) for query in listed], pa.string())
    flat = find_ids(texts, queries["text"].combine_chunks())
    number = np.array([0, *map(len, of_item)])
    first = np.cumsum(number) - number  # of item i: flat[first[i]:first[i] + number[i]]
    kept = split_purchases(number[item], recipe, seed)
    label = np.ones(len(kept.rec), np.uint8)
    rec = tabulate_rec(user[kept.rec], ts[kept.rec], seq[kept.rec], item[kept.rec], label)
    clicked = item[kept.search]
    search = tabulate_search(
        user[kept.search],
        ts[kept.search],
        seq[kept.search],
        flat[first[clicked] + kept.query],
        np.arange(len(clicked) + 1),
        clicked,
        np.ones(len(clicked), bool),
        ts[kept.search],  # a pseudo-search and its click are the purchase
        source="category",
        synthetic=True,
    )
    return rec, search, queries, tokens


def _find_files(raw: Path, category: str | None) -> tuple[Path, Path]:
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder; check --raw")
    if category is None:
        found = sorted({_category_of(path) for path in raw.glob("reviews_*_5.json.gz")})
        if len(found) != 1:
            what = f"has several categories ({', '.join(found)})" if found else "has no reviews"
            raise InputError(f"{raw}: {what}; give --category, or another --raw")
        category = found[0]
    return raw / f"reviews_{category}_5.json.gz", raw / f"meta_{category}.json.gz"


def _category_of(path: Path) -> str:
    return path.name.removeprefix("reviews_").removesuffix("_5.json.gz")
