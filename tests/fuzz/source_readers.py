"""The readers of source files: CSV, JSON lines, Parquet, planted truth, Amazon."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import second
from outcomes import Content, Reader

from common.data.readers.amazon_2014 import read_amazon
from common.data.readers.tables import read_tables
from common.data.readers.truth_tables import add_truth
from common.data.schema import SourceTables

_START, _HOUR = 1_700_000_000, 3600


def make_rows() -> dict[str, list[dict[str, Any]]]:
    """Three small tables: 6 users, 8 items, 24 interactions, 12 searches."""
    rng = np.random.default_rng(0)
    items = [
        {"item": f"i{i}", "title": f"Cup no. {i}, {'red' if i % 2 else 'blue'}",
         "category": "Home > Cups" if i % 3 else "Home", "brand": f"b{i % 2}", "text": "a \u00e9"}
        for i in range(8)
    ]  # fmt: skip
    bought = [
        {"user": f"u{k % 6}", "item": f"i{rng.integers(8)}", "time": _START + k * _HOUR + 7 * k,
         "label": int(k % 5 > 0)}
        for k in range(24)
    ]  # fmt: skip
    searched = [
        {"user": f"u{k % 6}", "query": f"red cup {k % 4}", "time": _START + k * 2 * _HOUR - 60,
         "clicked": f"i{k % 8}" if k % 3 else "", "shown": f"i{k % 8}|i{(k + 3) % 8}"}
        for k in range(12)
    ]  # fmt: skip
    return {"interactions": bought, "searches": searched, "items": items}


def write_texts(folder: Path, ends: dict[str, str]) -> None:
    """The tables as CSV, TSV or JSON lines, maybe packed. ends: of each table's file."""
    for name, rows in make_rows().items():
        end = ends[name]
        if "jsonl" in end:
            text = "".join(json.dumps(row) + "\n" for row in rows)
        else:
            comma = "\t" if "tsv" in end else ","
            lines = [list(rows[0]), *(list(row.values()) for row in rows)]
            quoted = [
                [f'"{cell}"' if "," in str(cell) else str(cell) for cell in line] for line in lines
            ]
            text = "".join(comma.join(line) + "\n" for line in quoted)
        content = text.encode()
        content = gzip.compress(content, mtime=0) if end.endswith(".gz") else content
        (folder / f"{name}{end}").write_bytes(content)


def write_parquet(folder: Path) -> None:
    """The tables as Parquet, with lists, a dictionary and timestamps."""
    for name, rows in make_rows().items():
        table = pa.Table.from_pylist(rows)
        for place, column in enumerate(table.column_names):
            values = table[column].to_pylist()
            if column in ("clicked", "shown"):
                lists = [[part for part in value.split("|") if part] for value in values]
                table = table.set_column(place, column, pa.array(lists))
            elif column == "brand":
                table = table.set_column(place, column, table[column].dictionary_encode())
            elif column == "time":
                ms = pa.array([1000 * value for value in values], pa.timestamp("ms"))
                table = table.set_column(place, column, ms)
        pq.write_table(table, folder / f"{name}.parquet")


def describe_tables(source: SourceTables) -> Content:
    """The content of tables by names, in an order that does not depend on ids."""
    users, items, queries = (
        [None, *source.table(name)[column].to_pylist()]
        for name, column in (("users", "raw_id"), ("items", "raw_id"), ("queries", "text"))
    )
    rec, search = source.rec.to_pylist(), source.search.to_pylist()
    compared = {
        "rec": sorted(
            (users[row["user"]], items[row["item"]], row["ts_ms"], row["label"]) for row in rec
        ),
        "search": sorted(
            (users[row["user"]], queries[row["query"]], row["ts_ms"],
             sorted(items[i] for i in row["shown"]), sorted(items[i] for i in row["clicked"]))
            for row in search
        ),
        "items": {
            row["raw_id"]: [row["title"], row["text"], row["brand"] > 0, row["cat_path"]]
            for row in source.items.to_pylist()
        },
    }  # fmt: skip
    truth = {name: table.to_pylist() for name, table in source.truth.items()}
    more = [rec, search, source.items["brand"].to_pylist(), truth]
    told = any("warning" in note for note in source.meta["notes"])
    return Content(compared, more, told)


def read_folder(folder: Path) -> Content:
    """Reads a folder of tables."""
    return describe_tables(read_tables(folder))


def _write_truth(folder: Path) -> None:
    (folder / "raw").mkdir()
    write_texts(folder / "raw", dict.fromkeys(make_rows(), ".csv"))
    (folder / "truth").mkdir()
    answers = {"interactions": {"intent": "a"}, "searches": {"topic": "a", "useful": 1},
               "items": {"topic": "b"}}  # fmt: skip
    for name, rows in make_rows().items():
        keys = {"interactions": ("user", "item", "time"), "searches": ("user", "query", "time"),
                "items": ("item",)}[name]  # fmt: skip
        table = [{key: row[key] for key in keys} | answers[name] for row in rows]
        lines = [",".join(table[0]), *(",".join(map(str, row.values())) for row in table)]
        (folder / f"truth/{name}.csv").write_text("\n".join(lines) + "\n")


def _read_truth(folder: Path) -> Content:
    tables = add_truth(read_tables(folder / "raw"), folder / "truth")
    content = describe_tables(tables)
    topics = [None, *tables.meta["truth_params"]["topics"]]
    rec, search = tables.rec.to_pylist(), tables.search.to_pylist()
    users, items, queries = (
        [None, *tables.table(name)[column].to_pylist()]
        for name, column in (("users", "raw_id"), ("items", "raw_id"), ("queries", "text"))
    )
    truth = {name: table.to_pylist() for name, table in tables.truth.items()}
    compared = {
        "rec": sorted({
            (users[(e := rec[row["row"]])["user"]], items[e["item"]], e["ts_ms"],
             topics[row["intent"]])
            for row in truth["rec"]
        }),
        "search": sorted({
            (users[(e := search[row["row"]])["user"]], queries[e["query"]], e["ts_ms"],
             topics[row["topic"]], int(row["useful"]))
            for row in truth["search"]
        }),
        "items": sorted((items[row["item"]], topics[row["topic"]]) for row in truth["items"]),
    }  # fmt: skip
    return Content(compared, content.compared, content.told)


def _read_plain_truth(folder: Path) -> dict[str, Any]:
    tables = {name: second.read_rows(folder / f"truth/{name}.csv") for name in make_rows()}
    bought, searched, listed = tables.values()
    times = second.to_ms([r["time"] for r in bought]), second.to_ms([r["time"] for r in searched])
    raw = second.read_rows(folder / "raw/interactions.csv")
    stamps = second.to_ms([row["time"] for row in raw])
    positive = {
        (r["user"], r["item"], ms) for r, ms in zip(raw, stamps, strict=True) if r["label"] == "1"
    }
    rec = {(r["user"], r["item"], ms, r["intent"]) for r, ms in zip(bought, times[0], strict=True)}
    return {
        "rec": sorted(row for row in rec if row[:3] in positive),
        "search": sorted({
            (r["user"], second.fold_query(r["query"]), ms, r["topic"], second.to_flag(r["useful"]))
            for r, ms in zip(searched, times[1], strict=True)
        }),
        "items": sorted({(r["item"], r["topic"]) for r in listed}),
    }  # fmt: skip


def _write_amazon(folder: Path) -> None:
    reviews, meta, order = [], [], {}
    for k in range(30):
        user, item = f"A{k % 6}", f"B{k * 7 % 9}"
        day = 86400 * (15000 + k // 3)
        reviews.append({"reviewerID": user, "asin": item, "unixReviewTime": day,
                        "reviewText": "fine \u00e9", "overall": 5.0})  # fmt: skip
        order.setdefault(user, []).append(item)
    for i in range(9):
        about: dict[str, Any] = {"asin": f"B{i}", "title": f"Cup &amp; pot {i}", "brand": "b",
                                 "categories": [["Toys", f"Cups {i % 3}"]]}  # fmt: skip
        meta.append(repr(about))
    lines = "".join(json.dumps(row) + "\n" for row in reviews)
    for name, text in (
        ("reviews_Toys_5.json.gz", lines),
        ("meta_Toys.json.gz", "\n".join(meta) + "\n"),
    ):
        (folder / name).write_bytes(gzip.compress(text.encode(), mtime=0))
    (folder / "order.txt").write_text("".join(f"{u} {' '.join(x)}\n" for u, x in order.items()))


def _read_amazon(folder: Path) -> Content:
    tables = read_amazon(folder, "Toys", order=folder / "order.txt")
    content = describe_tables(tables)
    compared = {
        "rec": sorted(row[:3] for row in content.compared["rec"]),
        "items": content.compared["items"],
        "users": tables.users["raw_id"].to_pylist(),
    }
    return Content(compared, [content.compared, content.more])


_TEXTS: dict[str, dict[str, str]] = {
    "CSV": dict.fromkeys(make_rows(), ".csv"),
    "TSV and .csv.gz": {"interactions": ".tsv", "searches": ".csv.gz", "items": ".csv.gz"},
    "JSON lines": {"interactions": ".jsonl", "searches": ".jsonl.gz", "items": ".jsonl"},
}
_WRITERS: dict[str, Callable[[Path], None]] = {
    name: partial(write_texts, ends=ends) for name, ends in _TEXTS.items()
} | {"Parquet": write_parquet}
READERS = [
    *(
        Reader(name, write, read_folder, second=second.read_plain_tables)
        for name, write in _WRITERS.items()
    ),
    Reader("truth tables", _write_truth, _read_truth, lambda name: name.startswith("truth/"),
           second=_read_plain_truth),
    Reader("Amazon and order file", _write_amazon, _read_amazon, second=second.read_plain_amazon),
]  # fmt: skip
