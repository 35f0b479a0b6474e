"""Masked attention and the transformer layer that several models share.

Shapes: [B] batch  [Q] queries  [L] keys  [D] width  [H] heads
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dense import Dense, DenseWeights, multiply
from common.nn.dropout import Dropout
from common.nn.norm import LayerNorm

NEGATIVE = -1e9  # additive mask; finite, so that a softmax over nothing stays finite


def masked_softmax(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """Softmax over the last axis, in float32, over the entries that `mask` keeps.

    logits [..., L], any float dtype; mask bool, broadcasts to it. Returns float32 [..., L]:
    rows sum to 1; a row with nothing to keep is all zeros, in value and in gradient.
    """
    logits = jnp.where(mask, logits.astype(jnp.float32), NEGATIVE)
    # exp(-1e9) is 0 already; only rows with nothing to keep have to be made so.
    return jax.nn.softmax(logits, axis=-1) * mask.any(axis=-1, keepdims=True)


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of `values` [..., L, D] over the L entries that mask [..., L] keeps; else zeros."""
    weights = mask.astype(values.dtype)
    total = (values * weights[..., None]).sum(axis=-2)  # no product: it joins what makes the values
    return total / jnp.maximum(weights.sum(axis=-1), 1.0)[..., None]


class Projected(NamedTuple):
    """Keys and values [B, L, D], all heads side by side."""

    keys: jax.Array
    values: jax.Array


class MultiHeadAttention(nn.Module):
    """Multi-head attention that also returns its weights.

    The keys and values may be projected once (`project`) and used for many queries (`attend`).
    Layers of one input share a product, as all heads do (docs/performance.md).
    """

    width: int
    heads: int
    dropout: float = 0.0

    def setup(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} does not divide by {self.heads} heads")
        self.query = DenseWeights(self.width)
        self.key = DenseWeights(self.width)
        self.value = DenseWeights(self.width)
        self.out = Dense(self.width)
        self.drop = Dropout(self.dropout)

    def project(self, memory: jax.Array) -> Projected:
        """Keys and values of a memory [B, L, D]."""
        return Projected(*_multiply(memory, self.key, self.value))

    def project_all(self, x: jax.Array) -> tuple[jax.Array, Projected]:
        """Queries, for `mix`, and keys and values, of x [B, L, D]."""
        queries, *projected = _multiply(x, self.query, self.key, self.value)
        return queries, Projected(*projected)

    def attend(
        self,
        queries: jax.Array,
        projected: Projected,
        mask: jax.Array | None,
        deterministic: bool,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Attends from queries [B, Q, D] to a projected memory.

        mask: bool [B, L], the same for all queries, or [B, Q, L]; None: everything is visible.
        bias: float32, broadcasts to [B, H, Q, L]: added to the logits before the mask.
        Returns the mixed values [B, Q, D] and the weights float32 [B, H, Q, L] before dropout.
        """
        (asked,) = _multiply(queries, self.query)
        return self.mix(asked, projected, mask, deterministic, bias)

    def __call__(
        self,
        queries: jax.Array,
        memory: jax.Array,
        mask: jax.Array | None,
        deterministic: bool,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """`project` and `attend` in one call."""
        if queries is not memory:
            return self.attend(queries, self.project(memory), mask, deterministic, bias)
        return self.mix(*self.project_all(memory), mask, deterministic, bias)

    def mix(
        self,
        queries: jax.Array,
        projected: Projected,
        mask: jax.Array | None,
        deterministic: bool,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """`attend` from queries that are projected already."""
        chex.assert_rank([queries, *projected], 3)

        def drop(weights: jax.Array) -> jax.Array:
            dropped: jax.Array = self.drop(weights, deterministic=deterministic)
            return dropped

        mixed, weights = attend_by_head(queries, *projected, self.heads, mask, bias, drop)
        return self.out(mixed), weights


def attend_by_head(
    queries: jax.Array,
    keys: jax.Array,
    values: jax.Array,
    heads: int,
    mask: jax.Array | None,
    bias: jax.Array | None = None,
    drop: Callable[[jax.Array], jax.Array] = lambda weights: weights,
) -> tuple[jax.Array, jax.Array]:
    """Scaled products of queries [B, Q, D] with keys, and values [B, L, D] mixed by them, by head.

    mask, bias: as of `MultiHeadAttention.attend`; drop: dropout of the weights
    Returns [B, Q, D] and the weights float32 [B, H, Q, L] before dropout.
    """
    size = queries.shape[-1] // heads
    query, keys, values = (x.reshape(*x.shape[:2], heads, size) for x in (queries, keys, values))
    logits = _compare(query * size**-0.5, keys)
    if bias is not None:
        logits = logits + bias
    if mask is None:
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
    else:
        visible = mask if mask.ndim == 3 else mask[:, None]
        weights = masked_softmax(logits, visible[:, None])
    mixed = _average(drop(weights).astype(query.dtype), values)
    return mixed.reshape(queries.shape), weights


def _multiply(x: jax.Array, *layers: DenseWeights) -> list[jax.Array]:
    return multiply(x, [layer(x.shape[-1]) for layer in layers])


def _compare(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """Inner products [B, H, Q, L] of queries [B, Q, H, D / H] and keys [B, L, H, D / H]."""
    if queries.shape[1] == 1:
        # A matrix and a vector: a product would have to move the heads' axis for it.
        return jnp.expand_dims((queries * keys).sum(axis=3).swapaxes(1, 2), 2)
    return jnp.einsum("bqhd,blhd->bhql", queries, keys)


def _average(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Sums [B, Q, H, D / H] of values [B, L, H, D / H] by weights [B, H, Q, L]."""
    if weights.shape[2] == 1:
        shares = weights[:, :, 0].swapaxes(1, 2)[..., None]
        return (shares * values).sum(axis=1, keepdims=True)
    return jnp.einsum("bhql,blhd->bqhd", weights, values)


class FeedForward(nn.Module):
    """Two dense layers with GELU in between; the inner width is `ratio` times the outer one."""

    width: int
    ratio: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        inner = nn.gelu(Dense(self.ratio * self.width)(x))
        return Dense(self.width)(inner)


class TransformerLayer(nn.Module):
    """Pre-norm transformer layer under a mask.

    x [B, L, D], mask bool [B, L] (which entries are real) or [B, L, L] (which entry sees which),
    bias [H, L, L] added to the attention logits; returns [B, L, D]. Dropout on both residual
    branches.
    """

    width: int
    heads: int
    dropout: float = 0.0

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        mask: jax.Array,
        deterministic: bool,
        bias: jax.Array | None = None,
    ) -> jax.Array:
        drop = Dropout(self.dropout, deterministic=deterministic)
        normed = LayerNorm()(x)
        attention = MultiHeadAttention(self.width, self.heads)
        mixed, _ = attention(normed, normed, mask, deterministic, bias)
        x = x + drop(mixed)
        return x + drop(FeedForward(self.width)(LayerNorm()(x)))
