"""Dense ids that depend on the values only, not on the order in which they came.

Shapes: [n] values  [N] items
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

LEVELS = 4  # category levels that get an id


def index_texts(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """The distinct texts, sorted by their UTF-8 bytes; id i is entry i - 1. Nulls are left out."""
    distinct = pc.unique(texts).drop_null()
    return distinct.take(pc.sort_indices(distinct))


def find_ids(texts: pa.Array | pa.ChunkedArray, vocabulary: pa.Array) -> np.ndarray:
    """int32 [n]: the id of each text, 0 where it is null or not in the vocabulary."""
    place = pc.index_in(texts, value_set=vocabulary, skip_nulls=True).fill_null(-1)
    return (np.asarray(place) + 1).astype(np.int32)


def tabulate_queries(words: Mapping[str, Sequence[str]]) -> tuple[pa.Table, pa.Table]:
    """The query and token tables. words: of each distinct query text, the words."""
    texts = sorted(words)
    vocabulary = sorted({word for text in texts for word in words[text]})
    token = {word: i for i, word in enumerate(vocabulary, 1)}
    queries = pa.table(
        {
            "query": np.arange(1, len(texts) + 1, dtype=np.int32),
            "text": pa.array(texts, pa.string()),
            "tok": pa.array([[token[w] for w in words[t]] for t in texts], pa.list_(pa.int32())),
        }
    )
    return queries, tabulate_tokens(vocabulary)


def tabulate_tokens(words: Sequence[str]) -> pa.Table:
    """The token table of distinct, sorted words."""
    numbers = np.arange(1, len(words) + 1, dtype=np.int32)
    return pa.table({"tok": numbers, "word": pa.array(words, pa.string())})


def number_categories(paths: Sequence[Sequence[str]]) -> np.ndarray:
    """int32 [N, 4]: per item and level the id of its category, 0 where the path is shorter.

    paths: one per item, root first. A category is the whole path down to its level; ids are
    dense per level, in the order of these paths.
    """
    ids = np.zeros((len(paths), LEVELS), np.int32)
    cut = [tuple(path[:LEVELS]) for path in paths]
    for level in range(LEVELS):
        prefixes = sorted({path[: level + 1] for path in cut if len(path) > level})
        known = {prefix: i for i, prefix in enumerate(prefixes, 1)}
        ids[:, level] = [
            known.get(path[: level + 1], 0) if len(path) > level else 0 for path in cut
        ]
    return ids


def tabulate_items(
    raw_ids: pa.Array,
    titles: Sequence[str | None],
    texts: Sequence[str | None],
    paths: Sequence[Sequence[str]],
    brands: Sequence[str | None],
) -> pa.Table:
    """The item table; raw_ids are sorted and distinct, the rest stands in their order."""
    n = len(raw_ids)
    brand = pa.array(brands, pa.string())
    categories = number_categories(paths)
    return pa.table(
        {
            "item": np.arange(1, n + 1, dtype=np.int32),
            "raw_id": raw_ids,
            "kind": pa.array(["item"] * n, pa.string()),
            "title": pa.array(titles, pa.string()),
            "text": pa.array(texts, pa.string()),
            "cat_path": pa.array([list(path) for path in paths], pa.list_(pa.string())),
            **{f"cat_{level + 1}": categories[:, level] for level in range(LEVELS)},
            "brand": find_ids(brand, index_texts(brand)),
            "author": np.zeros(n, np.int32),
        }
    )


def tabulate_users(raw_ids: pa.Array) -> pa.Table:
    """The user table; raw_ids are sorted and distinct."""
    return pa.table({"user": np.arange(1, len(raw_ids) + 1, dtype=np.int32), "raw_id": raw_ids})
