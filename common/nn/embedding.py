"""Vectors of items, queries and search events: the input layer of methods that read searches.

Shapes: [B] batch  [L] history length  [P] clicks per search  [I] items  [Q] queries  [W] words
        [D] width
Source: the input layer of UniSAR and GSERec (tanh of a linear map).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from common.nn.attention import masked_mean
from common.nn.dense import Dense
from common.nn.shards import copy_for_shards, look_up

table_init = nn.initializers.xavier_normal()


class Embedding(nn.Module):
    """Item and query vectors in one space of width D.

    `constants` holds `query_tokens` int32 [Q + 1, W] and `item_categories` int32 [I + 1, levels]
    (of `join_levels`); id 0 is padding everywhere and has the zero vector.
    """

    width: int
    n_items: int
    n_tokens: int
    n_categories: int = 0  # distinct ids over all levels; 0 = items are ids only

    def setup(self) -> None:
        self.item_id = nn.Embed(self.n_items + 1, self.width, embedding_init=table_init)
        self.word = nn.Embed(self.n_tokens + 1, self.width, embedding_init=table_init)
        if self.n_categories:
            self.category = nn.Embed(self.n_categories + 1, self.width, embedding_init=table_init)
        self.item_map = Dense(self.width)
        self.query_map = Dense(self.width)

    def items(self, ids: jax.Array, constants: Mapping[str, jax.Array]) -> jax.Array:
        """Item vectors [..., D] of ids int32 [...]: tanh(W [id ; mean of categories])."""
        parts = [self.item_id(ids)]
        if self.n_categories:
            levels = constants["item_categories"][ids]
            parts.append(masked_mean(self.category(levels), levels != 0))
        vectors = jnp.tanh(self.item_map(jnp.concatenate(parts, axis=-1)))
        return vectors * (ids != 0)[..., None]

    def queries(self, ids: jax.Array, constants: Mapping[str, jax.Array]) -> jax.Array:
        """Query vectors [..., D] of ids int32 [...]: tanh(W mean of words); a query without words
        has tanh(bias)."""
        words = constants["query_tokens"][ids]
        vectors = jnp.tanh(self.query_map(masked_mean(self.word(words), words != 0)))
        return vectors * (ids != 0)[..., None]


class Pooled(NamedTuple):
    """The vectors of all ids of a kind."""

    table: jax.Array  # [I + 1, D]
    copies: jax.Array  # [S, I + 1, D], of `copy_for_shards`

    def find(self, ids: jax.Array, shared: bool) -> jax.Array:
        alone = shared or len(self.copies) == 1
        return self.table[ids] if alone else look_up(self.copies, ids)


class Lookup:
    """Vectors by id. A table that is smaller than what a batch asks for is computed once.

    A batch repeats few distinct queries and items many times; mapping each distinct one once and
    gathering the result is exact, and several times cheaper.
    """

    def __init__(
        self,
        embedding: Embedding,
        constants: Mapping[str, jax.Array],
        requested: int,
        rows: int = 1,
    ) -> None:
        """requested: ids that a device asks for; rows: of the batch, the first axis of those ids"""
        self._embedding, self._constants, self._rows = embedding, constants, rows
        n_items = constants["item_categories"].shape[0]
        n_queries = constants["query_tokens"].shape[0]
        self._items = self._open(self.all_items, n_items <= requested)
        self._queries = self._open(
            lambda: embedding.queries(jnp.arange(n_queries), constants), n_queries <= requested
        )

    def _open(self, make: Callable[[], jax.Array], worth_it: bool) -> Pooled | None:
        if not worth_it:
            return None
        table = make()
        return Pooled(table, copy_for_shards(table, self._rows))

    def all_items(self) -> jax.Array:
        """Vectors of the whole catalogue, row 0 the padding: [I + 1, D]."""
        count = self._constants["item_categories"].shape[0]
        return self._embedding.items(jnp.arange(count), self._constants)

    def items(self, ids: jax.Array, shared: bool = False) -> jax.Array:
        """Item vectors [..., D] of ids int32 [...]. shared: the ids are not of single rows"""
        if self._items is None:
            return self._embedding.items(ids, self._constants)
        return self._items.find(ids, shared)

    def queries(self, ids: jax.Array, shared: bool = False) -> jax.Array:
        """Query vectors [..., D] of ids int32 [...]; as `items`."""
        if self._queries is None:
            return self._embedding.queries(ids, self._constants)
        return self._queries.find(ids, shared)

    def searches(self, queries: jax.Array, clicks: jax.Array) -> jax.Array:
        """Search events [B, L, D]: query plus the mean of its clicked items.

        queries int32 [B, L], clicks int32 [B, L, P]; a search without a click is its query alone.
        """
        return self.queries(queries) + masked_mean(self.items(clicks), clicks != 0)


def join_levels(categories: np.ndarray) -> np.ndarray:
    """Makes category ids [I + 1, levels] unique over the levels, so that one table serves all."""
    offsets = np.concatenate([[0], np.cumsum(categories.max(axis=0))[:-1]])
    return np.where(categories > 0, categories + offsets, 0).astype(np.int32)
