"""Masked attention and the transformer layer that several models share.

Shapes: [B] batch  [Q] queries  [L] keys  [D] width  [H] heads
"""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

NEGATIVE = -1e9  # additive mask; finite, so that a softmax over nothing stays finite


def masked_softmax(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax over the last axis, in float32, over the entries that `mask` keeps.

    logits [..., L], any float dtype; mask bool, broadcasts to it. Returns float32 [..., L]:
    rows sum to 1; a row with nothing to keep is all zeros, in value and in gradient.
    """
    logits = jnp.where(mask, logits.astype(jnp.float32), NEGATIVE)
    return jax.nn.softmax(logits, axis=-1) * mask


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of `values` [B, L, D] over the L entries with mask [B, L]; zeros where none is kept."""
    weights = mask.astype(values.dtype)
    total = jnp.einsum("bld,bl->bd", values, weights)
    return total / jnp.maximum(weights.sum(axis=1), 1.0)[:, None]


class MultiHeadAttention(nn.Module):
    """Multi-head attention that also returns its weights.

    The keys and values may be projected once (`project`) and used for many queries (`attend`).
    """

    width: int
    heads: int
    dropout: float = 0.0

    def setup(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide by {self.heads} heads")
        self.query = nn.Dense(self.width)
        self.key = nn.Dense(self.width)
        self.value = nn.Dense(self.width)
        self.out = nn.Dense(self.width)
        self.drop = nn.Dropout(self.dropout)

    def _split(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.heads, self.width // self.heads)

    def project(self, memory: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Keys and values [B, L, H, D / H] of a memory [B, L, D]."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def attend(
        self,
        queries: jax.Array,
        projected: tuple[jax.Array, jax.Array],
        mask: jax.Array,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array]:
        """Attends from queries [B, Q, D] to a projected memory.

        mask: bool [B, L], the same for all queries, or [B, Q, L].
        Returns the mixed values [B, Q, D] and the weights float32 [B, H, Q, L] before dropout.
        """
        keys, values = projected
        chex.assert_rank([queries, keys, mask], [3, 4, {2, 3}])
        visible = mask[:, None] if mask.ndim == 3 else mask[:, None, None]
        q = self._split(self.query(queries)) * (self.width // self.heads) ** -0.5
        weights = masked_softmax(jnp.einsum("bqhd,blhd->bhql", q, keys), visible)
        kept = self.drop(weights, deterministic=deterministic).astype(values.dtype)
        mixed = jnp.einsum("bhql,blhd->bqhd", kept, values)
        return self.out(mixed.reshape(queries.shape)), weights

    def __call__(
        self, queries: jax.Array, memory: jax.Array, mask: jax.Array, deterministic: bool
    ) -> tuple[jax.Array, jax.Array]:
        """`project` and `attend` in one call."""
        return self.attend(queries, self.project(memory), mask, deterministic)


class FeedForward(nn.Module):
    """Two dense layers with GELU in between; the inner width is `ratio` times the outer one."""

    width: int
    ratio: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = nn.gelu(nn.Dense(self.ratio * self.width)(x))
        return nn.Dense(self.width)(inner)


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer under a mask.

    x [B, L, D], mask bool [B, L] (which entries are real) or [B, L, L] (which entry sees which);
    returns [B, L, D]. Dropout on both residual branches.
    """

    width: int
    heads: int
    dropout: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, deterministic: bool) -> jax.Array:
        drop = nn.Dropout(self.dropout, deterministic=deterministic)
        normed = nn.LayerNorm()(x)
        mixed, _ = MultiHeadAttention(self.width, self.heads)(normed, normed, mask, deterministic)
        x = x + drop(mixed)
        return x + drop(FeedForward(self.width)(nn.LayerNorm()(x)))
