"""Vectors of items, queries and search events.

Shapes: [B] batch  [L] history length  [P] clicks per search  [I] items  [Q] queries  [W] words
        [D] width
Source: the input layer of UniSAR and GSERec (tanh of a linear map); the null event is ours.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dense import Dense
from lcr_jax.settings import ModelSettings

table_init = nn.initializers.xavier_normal()


class Embedding(nn.Module):
    """Item and query vectors in one space of width D.

    `constants` holds `query_tokens` int32 [Q + 1, W] and `item_categories` int32 [I + 1, levels]
    (ids unique over levels); id 0 is padding everywhere and has the zero vector.
    """

    settings: ModelSettings

    def setup(self) -> None:
        s = self.settings
        self.item_id = nn.Embed(s.n_items + 1, s.width, embedding_init=table_init)
        self.word = nn.Embed(s.n_tokens + 1, s.width, embedding_init=table_init)
        if s.n_categories:
            self.category = nn.Embed(s.n_categories + 1, s.width, embedding_init=table_init)
        self.item_map = Dense(s.width)
        self.query_map = Dense(s.width)

    def items(self, ids: jax.Array, constants: Mapping[str, jax.Array]) -> jax.Array:
        """Item vectors [..., D] of ids int32 [...]: tanh(W [id ; mean of categories])."""
        parts = [self.item_id(ids)]
        if self.settings.n_categories:
            levels = constants["item_categories"][ids]
            parts.append(_mean_of_real(self.category(levels), levels))
        vectors = jnp.tanh(self.item_map(jnp.concatenate(parts, axis=-1)))
        return vectors * (ids != 0)[..., None]

    def queries(self, ids: jax.Array, constants: Mapping[str, jax.Array]) -> jax.Array:
        """Query vectors [..., D] of ids int32 [...]: tanh(W mean of words); a query without words
        has tanh(bias)."""
        words = constants["query_tokens"][ids]
        vectors = jnp.tanh(self.query_map(_mean_of_real(self.word(words), words)))
        return vectors * (ids != 0)[..., None]


class Lookup:
    """Vectors by id. A table that is smaller than what a batch asks for is computed once.

    A batch repeats few distinct queries and items many times; mapping each distinct one once and
    gathering the result is exact, and several times cheaper.
    """

    def __init__(
        self, embedding: Embedding, constants: Mapping[str, jax.Array], requested: int
    ) -> None:
        self._embedding = embedding
        self._constants = constants
        n_items = constants["item_categories"].shape[0]
        n_queries = constants["query_tokens"].shape[0]
        self._items = self.all_items() if n_items <= requested else None
        self._queries = (
            embedding.queries(jnp.arange(n_queries), constants) if n_queries <= requested else None
        )

    def all_items(self) -> jax.Array:
        """Vectors of the whole catalogue, row 0 the padding: [I + 1, D]."""
        count = self._constants["item_categories"].shape[0]
        return self._embedding.items(jnp.arange(count), self._constants)

    def items(self, ids: jax.Array) -> jax.Array:
        """Item vectors [..., D] of ids int32 [...]."""
        if self._items is None:
            return self._embedding.items(ids, self._constants)
        return self._items[ids]

    def queries(self, ids: jax.Array) -> jax.Array:
        """Query vectors [..., D] of ids int32 [...]."""
        if self._queries is None:
            return self._embedding.queries(ids, self._constants)
        return self._queries[ids]

    def searches(self, queries: jax.Array, clicks: jax.Array) -> jax.Array:
        """Search events [B, L, D]: query plus the mean of its clicked items.

        queries int32 [B, L], clicks int32 [B, L, P]; a search without a click is its query alone.
        """
        return self.queries(queries) + _mean_of_real(self.items(clicks), clicks)


def _mean_of_real(vectors: jax.Array, ids: jax.Array) -> jax.Array:
    """Mean of vectors [..., n, D] over the n entries whose id [..., n] is not 0; else zeros."""
    real = (ids != 0).astype(vectors.dtype)
    total = jnp.einsum("...nd,...n->...d", vectors, real)
    return total / jnp.maximum(real.sum(axis=-1), 1.0)[..., None]
