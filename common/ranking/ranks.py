"""Ranks with their ties: how many candidates beat the positive, and how many equal it.

A positive with g better and t equal candidates has `rank_low` = g + 1 (every tie won) and
`rank_high` = g + t + 1 (every tie lost). All metrics follow from these two numbers.

Shapes: [B] rows of scores  [C] candidates  [n] ranked rows
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.bounds import check_regular
from common.data.events import TASKS
from common.data.schema import table_sha256
from common.errors import InputError
from common.printable import printable


class RankTable(NamedTuple):
    """The ranks of one task under one protocol, one entry per ranked row, rows ascending."""

    row: np.ndarray  # int64 [n], position in rec.parquet or search.parquet
    user: np.ndarray  # int32 [n]
    rank_low: np.ndarray  # int32 [n], 1 = first; every tie won
    rank_high: np.ndarray  # int32 [n], every tie lost

    @property
    def tied(self) -> np.ndarray:
        """bool [n]: rows whose positive shares its score with another candidate."""
        return self.rank_high > self.rank_low


_HASH = b"sha256"  # of the content, as the file's metadata hold it
_SHOWN = 60  # characters of a task and protocol in a message
_KINDS = {"row": pa.int64(), "user": pa.int32(), "rank_low": pa.int32(), "rank_high": pa.int32()}
Ranks = Mapping[tuple[str, str], RankTable]  # (task, protocol) -> ranks


def rank_table(row: np.ndarray, user: np.ndarray, greater: Any, equal: Any) -> RankTable:
    """A `RankTable` from the counts g and t, integers [n]."""
    low = np.asarray(greater, np.int64) + 1
    high = low + np.asarray(equal, np.int64)
    return RankTable(
        np.asarray(row, np.int64),
        np.asarray(user, np.int32),
        low.astype(np.int32),
        high.astype(np.int32),
    )


def count_ranks(scores: Any, positive: Any = 0) -> tuple[np.ndarray, np.ndarray]:
    """Counts the candidates that score above the positive, and those that equal it.

    scores:   [B, C] numbers, compared in float32; logits, not saturated probabilities
    positive: int, or int [B]: the column of each row's positive
    Returns greater and equal, int64 [B]; the positive itself is in neither.
    Raises ValueError for a score that is not finite in float32 (so also for -inf on a padded
    candidate: leave padding out instead), for another number of axes, for no rows or no
    candidates, and for a positive out of range; the message names the row, from 0.
    """
    # A float64 score beyond float32's range becomes inf and is reported below, with its row.
    with np.errstate(over="ignore"):
        scores = np.asarray(scores).astype(np.float32)
    if scores.ndim != 2 or 0 in scores.shape:
        raise ValueError(
            f"scores: shape {scores.shape}; need [rows, candidates] with at least one of each"
        )
    columns = np.asarray(positive)
    if columns.dtype.kind not in "iu" or columns.shape not in ((), scores.shape[:1]):
        raise ValueError(
            f"positive: {columns.dtype}{list(columns.shape)}; need one column number, or one for "
            f"each of the {len(scores)} rows"
        )
    columns = np.broadcast_to(columns, scores.shape[:1])
    outside = (columns < 0) | (columns >= scores.shape[1])
    if outside.any():
        row = int(np.argmax(outside))
        raise ValueError(
            f"positive, row {row}: column {columns[row]} of {scores.shape[1]} candidates"
        )
    broken = ~np.isfinite(scores)
    if broken.any():
        row, column = np.argwhere(broken)[0]
        raise ValueError(
            f"scores, row {row}, candidate {column}: {scores[row, column]} is no finite float32; "
            f"leave padded candidates out and check the model"
        )
    own = np.take_along_axis(scores, columns[:, None], axis=1)
    return (scores > own).sum(axis=1), (scores == own).sum(axis=1) - 1


def tie_rate(ranks: Ranks) -> float:
    """Share of (task, protocol, row) whose positive is tied, in [0, 1]."""
    total = sum(len(table.row) for table in ranks.values())
    return sum(int(table.tied.sum()) for table in ranks.values()) / max(total, 1)


def write_ranks(path: str | Path, ranks: Ranks) -> None:
    """Writes `ranks.parquet`, sorted by (task, protocol, row), beside the target, then renames.

    Raises ValueError when a table lists a row twice or out of order.
    """
    tables = []
    for (task, protocol), table in sorted(ranks.items()):
        if (np.diff(table.row) <= 0).any():
            raise ValueError(f"ranks of {task}/{protocol}: rows are not strictly ascending")
        names = {"task": task, "protocol": protocol}
        columns = {
            name: pa.array([value])
            .dictionary_encode()
            .take(pa.array(np.zeros(len(table.row), int)))
            for name, value in names.items()
        }
        tables.append(pa.table({**columns, **table._asdict()}))
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")
    whole = pa.concat_tables(tables).unify_dictionaries()
    whole = whole.replace_schema_metadata({_HASH: table_sha256(whole)})  # Parquet itself has none
    pq.write_table(whole, beside, compression="zstd")
    beside.replace(path)


def read_ranks(path: str | Path) -> dict[tuple[str, str], RankTable]:
    """Reads `ranks.parquet`.

    Raises InputError for a file that is damaged or no Parquet file, a column that is missing or of
    another type, and a repeated row.
    """
    check_regular(Path(path), "evaluate again")
    try:
        table = pq.read_table(path)
        table.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: damaged, or no Parquet file; evaluate again") from error
    missing = {"task", "protocol", *RankTable._fields} - set(table.column_names)
    if missing:
        raise InputError(f"{path}: no column {min(missing)}; write it with `write_ranks`")
    kinds = {"task": pa.string(), "protocol": pa.string()} | _KINDS
    for name in RankTable._fields:
        if not pa.types.is_integer(kind := table.schema.field(name).type):
            raise InputError(f"{path}, column {name}: is {kind}, not whole numbers; evaluate again")
    stored = (table.schema.metadata or {}).get(_HASH)  # absent from files of older versions
    try:
        table = pa.table({name: table[name].cast(kind) for name, kind in kinds.items()})
    except pa.ArrowException as error:
        reason = printable(str(error)[:_SHOWN], keep="")
        raise InputError(f"{path}: a column has another type ({reason}); evaluate again") from error
    if stored not in (None, table_sha256(table).encode()):
        raise InputError(f"{path}: is not what was stored, its sha256 differs; evaluate again")
    if nulls := [name for name in kinds if table[name].null_count]:
        raise InputError(f"{path}, column {nulls[0]}: has empty places; evaluate again")
    keys = pc.binary_join_element_wise(table["task"], table["protocol"], "/").combine_chunks()
    keys = keys.dictionary_encode()
    codes = keys.indices.to_numpy()
    order = np.argsort(codes, kind="stable")  # rows of one key together, as they came
    ends = np.cumsum(np.bincount(codes, minlength=len(keys.dictionary)))
    columns = [table[name].to_numpy()[order] for name in RankTable._fields]
    ranks = {}
    for key, code in sorted((key, code) for code, key in enumerate(keys.dictionary.to_pylist())):
        task, protocol = key.split("/", 1)
        where = f"{path}, {printable(key[:_SHOWN], keep='')}"
        if task not in TASKS:
            raise InputError(f"{where}: is neither {' nor '.join(TASKS)}; evaluate again")
        start = ends[code - 1] if code else 0
        ranked = RankTable(*(column[start : ends[code]] for column in columns))
        if (np.diff(ranked.row) <= 0).any():
            raise InputError(f"{where}: rows repeat or are unsorted; evaluate again")
        if (ranked.rank_low < 1).any() or (ranked.rank_high < ranked.rank_low).any():
            raise InputError(f"{where}: has ranks that cannot be; evaluate again")
        ranks[task, protocol] = ranked
    return ranks
