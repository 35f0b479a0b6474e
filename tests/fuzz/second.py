"""A second reading of source files, by other code: `csv`, `json`, `ast`, plain pyarrow, in loops.

Whatever our readers take, this must find in the file too; it raises for what it does not know.
Not read a second time: the order of events of one time, times of clicks, pseudo-queries.
"""

from __future__ import annotations

import ast
import csv
import datetime
import decimal
import gzip
import html
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from common.data.words import fold_query

_UTC = datetime.UTC
_TABLES = ("interactions", "searches", "items")


def read_plain_tables(folder: Path) -> dict[str, Any]:
    """The events and items of a folder of tables, by their own names."""
    paths = {path.name.split(".")[0]: path for path in sorted(folder.iterdir()) if path.is_file()}
    tables = {name: read_rows(paths[name]) if name in paths else [] for name in _TABLES}
    bought, searched, listed = (tables[name] for name in _TABLES)
    times = to_ms([row["time"] for row in bought]), to_ms([row["time"] for row in searched])
    rec = [
        (to_id(row["user"]), to_id(row["item"]), ms, to_flag(row.get("label", 1)))
        for row, ms in zip(bought, times[0], strict=True)
    ]
    search = [
        (to_id(row["user"]), fold_query(row["query"]), ms,
         sorted({*to_list(row.get("clicked")), *to_list(row.get("shown"))}),
         sorted({*to_list(row.get("clicked"))}))
        for row, ms in zip(searched, times[1], strict=True)
    ]  # fmt: skip
    items = {to_id(row["item"]): describe_item(row) for row in listed}
    if len(items) < len(listed):
        raise ValueError("an item stands twice")
    return {"rec": sorted(rec), "search": sorted(search), "items": items}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a table, by column."""
    content = path.read_bytes()
    name = path.name
    if name.endswith(".gz"):
        content, name = gzip.decompress(content), name.removesuffix(".gz")
    if name.endswith(".parquet"):
        return _read_parquet(content)
    text = content.decode("utf-8-sig", "strict" if name.endswith(".jsonl") else "replace")
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.split("\n") if line.strip()]
    csv.field_size_limit(1 << 27)
    comma = "\t" if name.endswith(".tsv") else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=comma, strict=True)
    rows = [row for row in lines if row]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def _read_parquet(content: bytes) -> list[dict[str, Any]]:
    table = pq.read_table(io.BytesIO(content))
    for place, (name, column) in enumerate(zip(table.column_names, table.columns, strict=True)):
        kind = column.type
        if pa.types.is_timestamp(kind):
            per = {"s": 1, "ms": 1000, "us": 10**6, "ns": 10**9}[kind.unit]
            ms = [None if v is None else datetime.datetime.fromtimestamp(0, _UTC)
                  + datetime.timedelta(milliseconds=v * 1000 // per)
                  for v in column.cast(pa.int64()).to_pylist()]  # fmt: skip
            table = table.set_column(place, name, pa.array(ms, pa.timestamp("ms", "UTC")))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def to_ms(values: list[Any]) -> list[int]:
    """Milliseconds UTC: the unit is that of the whole column."""
    numbers = [_to_number(value) for value in values]
    if all(isinstance(number, datetime.datetime) for number in numbers):
        epoch = datetime.datetime.fromtimestamp(0, _UTC)
        return [(number - epoch) // datetime.timedelta(milliseconds=1) for number in numbers]
    if any(isinstance(number, datetime.datetime) or not number >= 0 for number in numbers):
        raise ValueError("times of two kinds, or before 1970")
    small = max(numbers) < 10**8
    seconds = small or all(number < 10**11 for number in numbers)
    if not seconds and any(number < 10**11 for number in numbers):
        raise ValueError("seconds and milliseconds")
    return [round(number * 1000) if seconds else round(number) for number in numbers]


def _to_number(value: Any) -> Any:
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"[+-]?\d+", text):
            return int(text)
        if re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text):
            return float(text)
        value = datetime.datetime.fromisoformat(text)
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        value = datetime.datetime(value.year, value.month, value.day)
    if isinstance(value, datetime.datetime):
        return value if value.tzinfo else value.replace(tzinfo=_UTC)
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no time")
    return value


def to_id(value: Any) -> str:
    """An id as a text."""
    if isinstance(value, decimal.Decimal) and value == value.to_integral_value():
        value = int(value)
    if type(value) is int:
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{value!r} is no id")
    value.encode()
    return value


def to_flag(value: Any) -> int:
    """0 or 1."""
    text = str(value).strip().lower()
    if text in ("1", "true", "1.0"):
        return 1
    if text in ("0", "false", "0.0"):
        return 0
    if isinstance(value, decimal.Decimal) and value in (0, 1):
        return int(value)
    raise ValueError(f"{value!r} is no flag")


def to_list(value: Any) -> list[str]:
    """A list of ids."""
    if value is None:
        return []
    if isinstance(value, str):
        return [part for part in re.split(r"[|\s]+", value) if part]
    return [to_id(entry) for entry in value]


def describe_item(row: dict[str, Any]) -> list[Any]:
    """Title, text, whether it has a brand, and category path."""
    texts = []
    for key in ("title", "text", "brand"):
        value = row.get(key)
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{value!r} is no text")
        texts.append((value or "").strip() or None)
    path = row.get("category")
    if isinstance(path, str) or path is None:
        path = [part.strip() for part in (path or "").split(">") if part.strip()]
    elif path and isinstance(path[0], list):
        path = path[0]
    return [texts[0], texts[1], texts[2] is not None, [str(name) for name in path if name]]


def read_plain_amazon(folder: Path) -> dict[str, Any]:
    """The purchases and items of an Amazon category, with the order file's order of items."""
    reviews = _lines(folder / "reviews_Toys_5.json.gz")
    rec = [json.loads(line) for line in reviews]
    bought = {row["asin"] for row in rec}
    found: dict[str, list[Any]] = {}
    for line in _lines(folder / "meta_Toys.json.gz"):
        if (start := re.match(r"\{'asin': '(\w+)'", line)) and start[1] not in bought:
            continue  # nine of ten rows are of such items, and are not looked at
        meta = ast.literal_eval(line)
        if meta["asin"] in found:
            continue
        title, text = (html.unescape(meta.get(key) or "").strip() or None
                       for key in ("title", "description"))  # fmt: skip
        paths = [path for path in meta["categories"] if path]
        path = [html.unescape(name).strip() for name in paths[0]] if paths else []
        found[meta["asin"]] = [title, text, bool((meta.get("brand") or "").strip()), path]
    order = {}
    for line in (folder / "order.txt").read_text().splitlines():
        user, *items = line.split()
        order[user] = items
    return {
        "rec": sorted((r["reviewerID"], r["asin"], r["unixReviewTime"] * 1000) for r in rec),
        "items": {asin: found.get(asin, [None, None, False, []]) for asin in bought},
        "users": sorted(order),
    }


def _lines(path: Path) -> list[str]:
    text = gzip.decompress(path.read_bytes()).decode()
    return [line.rstrip("\r\n") for line in text.removesuffix("\n").split("\n")]
