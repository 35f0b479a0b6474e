"""The readable side of a dataset folder: titles, query texts, words, raw ids.

They are not part of `Dataset`, because a model of ids needs none of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.bounds import check_regular
from common.data.schema import SCHEMAS
from common.errors import InputError


class TokenLists(NamedTuple):
    """Lists of token ids, one after the other."""

    lengths: np.ndarray  # int64 [n]
    values: np.ndarray  # int32 [sum of lengths]


def read_columns(folder: Path, table: str, *columns: str) -> list[list[Any]]:
    """Columns of a table of a dataset folder, as lists in row order; entry 0 has the id 1.

    Raises InputError naming the file that is missing or damaged.
    """
    read = _read(folder, table, *columns)
    return [read[name].to_pylist() for name in columns]


def read_titles(folder: Path) -> list[str | None]:
    """The title of each item, None where the dataset has none or a blank one."""
    [titles] = read_columns(folder, "items", "title")
    return [title.strip() or None if title else None for title in titles]


def read_title_tokens(folder: Path) -> TokenLists | None:
    """The token ids of each item's text, an empty list where it has none; None if no item has any.

    Ids are those of the dataset's tokens, 1..n_tokens.
    """
    lists = _read(folder, "items", "text_tok")["text_tok"]
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    values = pc.list_flatten(lists).to_numpy().astype(np.int32)
    return TokenLists(lengths, values) if len(values) else None


def read_query_texts(folder: Path) -> list[str]:
    """The text of each query; else its words, joined; else an empty text."""
    texts, tokens = read_columns(folder, "queries", "text", "tok")
    if all(texts):
        return texts
    words = read_words(folder)
    return [
        text or " ".join(words[token - 1] for token in entry)
        for text, entry in zip(texts, tokens, strict=True)
    ]


def read_words(folder: Path) -> list[str]:
    """The word of each token id."""
    [words] = read_columns(folder, "tokens", "word")
    return words


def _read(folder: Path, table: str, *columns: str) -> pa.Table:
    file = folder / f"{table}.parquet"
    check_regular(file, "prepare the dataset again")
    try:
        read = pq.read_table(file, columns=list(columns)).select(columns)
        return read.cast(pa.schema([SCHEMAS[table].field(name) for name in columns]))
    except (pa.ArrowException, KeyError, OSError, ValueError) as error:
        raise InputError(f"{file}: is no table of a dataset; prepare it again") from error
