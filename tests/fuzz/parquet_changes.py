"""Changes of Parquet tables: other types, values, columns and ways to write the same."""

from __future__ import annotations

import datetime
import decimal
import io
import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

VALUES: tuple[Any, ...] = (
    None, 0, 1, 2, -1, 2**31, 2**62, -(2**62), 1.5, 1e300, float("nan"), "", "x", "i1", "é",
    "x" * 300_000, b"\xff\xfe", b"i1", True, [], ["i1"], [None], [["i1"]], {"a": 1}, "a\nb",
    1_700_000_000, 1_700_000_000_000, 20231114, "2024-02-28", "soon", [1_700_000_000], [""],
    datetime.datetime(2024, 1, 1), datetime.date(2024, 1, 1), datetime.timedelta(1),
    decimal.Decimal("1.50"), decimal.Decimal(10) ** 30, datetime.time(1), ["i1"] * 3000,
)  # fmt: skip
TYPES: tuple[pa.DataType, ...] = (
    pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint64(), pa.float16(),
    pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.string_view(), pa.binary(),
    pa.large_binary(), pa.bool_(), pa.null(), pa.date32(), pa.date64(), pa.time64("us"),
    pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us", "UTC"), pa.timestamp("ns"),
    pa.timestamp("ns", "Asia/Tokyo"), pa.duration("ms"), pa.decimal128(38, 0),
    pa.decimal128(38, 4), pa.decimal256(60, 2), pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.int64()), pa.list_(pa.string()), pa.large_list(pa.string()),
    pa.list_(pa.int32(), 2), pa.list_(pa.dictionary(pa.int32(), pa.string())),
    pa.map_(pa.string(), pa.int64()), pa.struct([("a", pa.int64())]), pa.list_(pa.int64()),
    pa.binary(4), pa.list_(pa.list_(pa.string())),
)  # fmt: skip
_WAYS: tuple[dict[str, Any], ...] = (
    {}, {"compression": "gzip"}, {"compression": "none"}, {"row_group_size": 10},
    {"use_dictionary": False}, {"version": "1.0"}, {"data_page_version": "2.0"},
    {"store_schema": False}, {"write_page_checksum": True}, {"use_byte_stream_split": False},
)  # fmt: skip


def change_parquet(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A Parquet file with one column, or its rows, written otherwise."""
    table = pq.read_table(io.BytesIO(content))
    place = rng.randrange(table.num_columns)
    name = table.column_names[place]
    values, row = table[name].to_pylist(), rng.randrange(max(len(table), 1))
    kind = ""
    try:
        match rng.randrange(9):
            case 0 | 1:
                kind = f"{name} as {(other := rng.choice(TYPES))}"
                table = table.set_column(place, name, _cast(table[name], other))
            case 2 | 3:
                values[row] = rng.choice(VALUES)
                kind = f"{name}, row {row} = {str(values[row])[:20]}"
                table = table.set_column(place, name, pa.array(values))
            case 4:
                value = rng.choice(VALUES)
                kind = f"{name} = {str(value)[:20]}"
                table = table.set_column(place, name, pa.array([value] * len(table)))
            case 5:
                kind, table = f"without {name}", table.drop_columns([name])
            case 6:
                other_place = rng.randrange(table.num_columns)
                names = list(table.column_names)
                names[place], names[other_place] = names[other_place], names[place]
                kind, table = f"{name} called {names[place]}", table.rename_columns(names)
            case 7:
                parts: Callable[[], pa.Table] = rng.choice((
                    lambda: table.slice(1), lambda: pa.concat_tables([table, table]),
                    lambda: table.slice(0, 0), lambda: table.take(pa.array(_turn(len(table)))),
                    lambda: table.append_column(name, table[name]),
                    lambda: table.append_column("feat_x", table[name]),
                    lambda: table.replace_schema_metadata({"ARROW:schema": "x"}),
                ))  # fmt: skip
                kind, table = "other rows or columns", parts()
            case _:
                kind = "written another way"
        out = io.BytesIO()
        way = rng.choice(_WAYS)
        pq.write_table(table, out, **way)
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        return f"not possible ({kind}, {str(error)[:40]})", content
    return f"{kind} {way or ''}", out.getvalue()


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> Any:
    try:
        return column.cast(kind)
    except pa.ArrowException:
        return pa.array([_fit(kind)] * len(column), kind)


def _fit(kind: pa.DataType) -> Any:
    """Some value of a type."""
    for value in (5, "i1", b"i1ii", [], {"a": 1}, True, datetime.date(2024, 1, 1),
                  datetime.time(1), decimal.Decimal(5), ["i1", "i1"], [5, 5]):  # fmt: skip
        try:
            pa.array([value], kind)
        except (pa.ArrowException, TypeError, ValueError):
            continue
        return value
    return None


def _turn(size: int) -> list[int]:
    return list(range(size))[::-1]
