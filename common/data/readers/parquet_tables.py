"""Parquet files, and folders of them as Spark, DuckDB and others write them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from common.bounds import check_growth
from common.data.readers.raw_tables import RawTable, RowPlaces
from common.data.readers.table_faults import Faults
from common.data.readers.table_forms import count_bytes
from common.data.readers.table_places import list_parts
from common.data.readers.text_lines import check_source_file

_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_ROW = 32  # bytes that a row takes at least, once its ids and its time are arrays
_AS_TEXT = "write it as CSV"
_PANDAS_INDEX = "__index_level_"  # row numbers that pandas adds


def read_parquet(path: Path, wanted: Collection[str], faults: Faults) -> RawTable | None:
    """The wanted columns of a file, or of the files of a folder, one after the other.

    faults: told of files that are damaged or do not fit together
    Folders named `key=value` (hive) give a column `key` of texts. None where nothing can be read.
    Raises InputError for a file that is only a Git LFS pointer.
    """
    paths = list_parts(path, faults) if path.is_dir() else [path]
    names: dict[str, None] = {}
    twice: list[str] = []
    tables, parts, rows = [], [], 0
    for part in paths:
        read = _read_part(part, wanted, faults)
        if read is None:
            continue
        table, own = read
        for key, value in _read_keys(part, path):
            if key not in own:
                own.append(key)
                if key in wanted:
                    table = table.append_column(key, pa.array([value] * len(table), pa.string()))
        twice += [name for name in own if name in wanted and own.count(name) > 1]
        names |= dict.fromkeys(own)
        tables.append(table)
        parts.append((part, rows))
        rows += len(table)
    if not tables:
        return None
    try:
        whole = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:120]
        faults.tell(f"{path}: its files do not fit together ({reason}); write them again")
        return None
    shown = [name for name in names if not name.startswith(_PANDAS_INDEX)]
    places = RowPlaces(path, parts=parts if path.is_dir() else ())
    return RawTable(whole, [*shown, *dict.fromkeys(twice)], places)


def _read_part(
    path: Path, wanted: Collection[str], faults: Faults
) -> tuple[pa.Table, list[str]] | None:
    """The wanted columns of one file, and the names of all."""
    check_source_file(path)
    try:
        with pq.ParquetFile(path) as file:
            names = list(file.schema_arrow.names)
            kept = [name for name in names if name in wanted and names.count(name) == 1]
            rows = file.metadata.num_rows
            check_growth(path, path.stat().st_size, rows * _ROW, _AS_TEXT)
            if kept:
                return _read_columns(path, file, kept), names
            return pa.table({"": pa.nulls(rows)}), names
    except (pa.ArrowException, OSError, UnicodeDecodeError, KeyError) as error:
        reason = "" if isinstance(error, pa.ArrowInvalid) else f" ({str(error)[:60]!r})"
        faults.tell(f"{path}: cut short or no Parquet file{reason}; write it again")
        return None


def _read_columns(path: Path, file: pq.ParquetFile, names: list[str]) -> pa.Table:
    """Part by part: what a few bytes say many times over is found before it fills the memory."""
    size, read, parts = path.stat().st_size, 0, []
    for batch in file.iter_batches(columns=names):
        read += sum(map(count_bytes, batch.columns))
        check_growth(path, size, read, _AS_TEXT)
        parts.append(batch)
    schema = pa.schema([file.schema_arrow.field(name) for name in names])
    table = pa.Table.from_batches(parts).select(names) if parts else schema.empty_table()
    if len(table) != file.metadata.num_rows:  # of columns of two lengths there come no batches
        raise pa.ArrowInvalid("other rows than the footer says")
    return table


def _read_keys(part: Path, folder: Path) -> list[tuple[str, str | None]]:
    """The columns that the folders between two paths give, as hive names them."""
    if part == folder:
        return []
    keys = []
    for name in part.relative_to(folder).parts[:-1]:
        key, equals, value = name.partition("=")
        if equals:
            keys.append((unquote(key), None if value == _NO_VALUE else unquote(value)))
    return keys
