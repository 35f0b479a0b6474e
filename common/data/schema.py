"""The tables of a dataset folder, the same for every source, and the hash of what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.errors import InputError
from common.printable import printable

_SHOWN = 120  # characters of the library's words in a message
VERSION = 2  # of the folder's layout, the manifest's `schema`


def _schema(**columns: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=False) for name, kind in columns.items()])


def _optional(schema: pa.Schema, *names: str) -> pa.Schema:
    return pa.schema([f.with_nullable(f.name in names) for f in schema])


_I32, _I64, _TEXT = pa.int32(), pa.int64(), pa.string()

# Ids are dense and start at 1; 0 means none. Vocabularies are sorted: users and items by raw id,
# queries by text, tokens by word. Events are sorted by (user, ts_ms, seq); their row number is
# what splits, lists and ranks refer to.
SCHEMAS: dict[str, pa.Schema] = {
    "users": _schema(user=_I32, raw_id=_TEXT),  # more columns: feat_<name>, int32
    "items": _optional(
        _schema(
            item=_I32, raw_id=_TEXT, kind=_TEXT, title=_TEXT, text=_TEXT, text_tok=pa.list_(_I32),
            cat_path=pa.list_(_TEXT), cat_1=_I32, cat_2=_I32, cat_3=_I32, cat_4=_I32, brand=_I32,
            author=_I32, created_ms=_I64,
        ),
        "title", "text", "text_tok", "created_ms",
    ),
    "queries": _optional(_schema(query=_I32, text=_TEXT, tok=pa.list_(_I32)), "text"),
    "tokens": _schema(tok=_I32, word=_TEXT),
    "rec": _optional(
        _schema(
            user=_I32, ts_ms=_I64, seq=_I32, item=_I32, label=pa.uint8(), actions=pa.uint16(),
            dwell_ms=pa.float32(), dur_ms=pa.float32(), request=_I64,
        ),
        "dwell_ms", "dur_ms", "request",
    ),
    "search": _schema(
        user=_I32, ts_ms=_I64, seq=_I32, session=_I64, query=_I32, source=_TEXT,
        shown=pa.list_(_I32), shown_kind=pa.list_(pa.uint8()), clicks=pa.list_(pa.uint16()),
        clicked=pa.list_(_I32), click_ts=pa.list_(_I64), synthetic_query=pa.bool_(),
    ),
}  # fmt: skip
TABLES = tuple(SCHEMAS)
VOCABULARIES = {"users": "user", "items": "item", "queries": "query", "tokens": "tok"}


@dataclass(frozen=True)
class SourceTables:
    """What a reader returns: the tables in canonical columns and order, and where they are from.

    meta (json-able): name, version, licence, redistributable, time_resolution, sources (list of
    {file, bytes, sha256}), filters, pseudo_query, notes; maybe negatives, the list length that
    suits the data, click_times (how the times of clicks are known), and truth_params, which belong
    to `truth`.
    """

    users: pa.Table
    items: pa.Table
    queries: pa.Table
    tokens: pa.Table
    rec: pa.Table
    search: pa.Table
    meta: Mapping[str, Any]
    truth: Mapping[str, pa.Table] = field(default_factory=dict)  # planted; empty where unknown

    def table(self, name: str) -> pa.Table:
        """The table of that name, one of `TABLES`."""
        table: pa.Table = getattr(self, name)
        return table


def conform_table(name: str, table: pa.Table) -> pa.Table:
    """Gives a table the canonical columns, in their order and types.

    Columns that may be null may also be missing. Raises InputError, naming table, row and column,
    for a column that is missing, unknown, of another kind of type, or null where it must not be.
    """
    columns, fields = [], list(SCHEMAS[name])
    extra = [c for c in table.column_names if c not in SCHEMAS[name].names]
    for column in extra:
        if name != "users" or not column.startswith("feat_"):
            raise InputError(f"{name}.parquet, column {column}: not in the schema; remove it")
        fields.append(pa.field(column, _I32, nullable=False))
    for wanted in fields:
        where = f"{name}.parquet, column {wanted.name}"
        if wanted.name not in table.column_names:
            if not wanted.nullable:
                raise InputError(
                    f"{where}: missing; the columns are {', '.join(SCHEMAS[name].names)}"
                )
            columns.append(pa.nulls(table.num_rows, wanted.type))
            continue
        column = table[wanted.name]
        if not wanted.nullable and column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0]) + 1
            raise InputError(f"{name}.parquet, row {row}, column {wanted.name}: is null; fill it")
        try:
            columns.append(column.cast(wanted.type))
        except pa.ArrowException as error:
            reason = printable(str(error)[:_SHOWN], keep="")  # it quotes the value
            raise InputError(f"{where}: is no {wanted.type} ({reason}); convert it") from error
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def table_sha256(table: pa.Table) -> str:
    """sha256 of a table's content: column names, types and values in row order.

    It does not depend on how the table is stored: chunks, slices, dictionaries, the bytes behind
    a null, file format or writer. Source: ours.
    """
    digest = hashlib.sha256()
    for name in table.column_names:
        chunks = table[name].chunks
        if pa.types.is_dictionary(table[name].type):
            chunks = [chunk.dictionary_decode() for chunk in chunks]
        kind = table[name].type if not chunks else chunks[0].type
        digest.update(f"{name}\n{table.num_rows}\n".encode())
        _hash_values(digest, kind, chunks)
    return digest.hexdigest()


def dataset_sha256(hashes: Iterable[str]) -> str:
    """The hash of a dataset: sha256 over its tables' hashes, sorted, one a line."""
    return hashlib.sha256("\n".join(sorted(hashes)).encode()).hexdigest()


def _hash_values(digest: Any, kind: pa.DataType, chunks: list[pa.Array]) -> None:
    """Adds validity, then values; lists and strings as their lengths and what they hold."""
    for chunk in chunks:
        digest.update(chunk.is_valid().cast(pa.uint8()).to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        digest.update(b"list\n")
        for chunk in chunks:
            digest.update(_little(pc.list_value_length(chunk).cast(_I64).fill_null(0)))
        # flatten() leaves out what lies behind null lists and outside a slice.
        _hash_values(digest, kind.value_type, [chunk.flatten() for chunk in chunks])
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        digest.update(b"string\n")
        filled = [chunk.cast(pa.large_string()).fill_null("") for chunk in chunks]
        for chunk in filled:
            digest.update(_little(pc.binary_length(chunk)))
        for chunk in filled:
            if len(chunk):
                _, offsets, data = chunk.buffers()
                off = np.frombuffer(offsets, np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
                digest.update(memoryview(data)[off[0] : off[-1]] if data else b"")
    else:
        digest.update(f"{kind}\n".encode())
        for chunk in chunks:
            digest.update(_little(chunk.fill_null(False if pa.types.is_boolean(kind) else 0)))


def _little(array: pa.Array) -> bytes:
    """The values in little-endian order, without nulls."""
    values = array.to_numpy(zero_copy_only=False)
    return values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
