"""Masked attention and the transformer layer that several models share.

Shapes: [B] batch  [Q] queries  [L] keys  [D] width  [H] heads
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dense import Dense, DenseWeights, multiply
from common.nn.dropout import Dropout
from common.nn.norm import LayerNorm
from common.platform import find_platform

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
    if find_platform() == "cpu":
        total = jnp.einsum("...ld,...l->...d", values, weights)
    else:  # no product of its own, so it joins what makes the values
        total = (values * weights[..., None]).sum(axis=-2)
    return total / jnp.maximum(weights.sum(axis=-1), 1.0)[..., None]


Parts = tuple[jax.Array, ...]


class Projected(NamedTuple):
    """Keys and values, an array [B, L, G * D / H] for each group of G heads."""

    keys: Parts
    values: Parts


class MultiHeadAttention(nn.Module):
    """Multi-head attention that also returns its weights.

    The keys and values may be projected once (`project`) and used for many queries (`attend`).
    On a CPU every head is a group of its own: products over all heads have to move the heads' axis,
    three times. Elsewhere all heads are one group: few large products, and layers of the same input
    share one (docs/performance.md).
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
        return Projected(*self._multiply(memory, self.key, self.value))

    def project_all(self, x: jax.Array) -> tuple[Parts, Projected]:
        """Queries, for `mix`, and keys and values, of x [B, L, D]."""
        queries, *projected = self._multiply(x, self.query, self.key, self.value)
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
        (parts,) = self._multiply(queries, self.query)
        return self.mix(parts, projected, mask, deterministic, bias)

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

    def _multiply(self, x: jax.Array, *layers: DenseWeights) -> list[Parts]:
        groups = self.heads if find_platform() == "cpu" else 1
        return multiply(x, [layer(x.shape[-1]) for layer in layers], groups)

    def mix(
        self,
        queries: Parts,
        projected: Projected,
        mask: jax.Array | None,
        deterministic: bool,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """`attend` from queries that are projected already."""
        chex.assert_rank([*queries, *projected.keys], 3)
        visible = mask if mask is None or mask.ndim == 3 else mask[:, None]
        size = self.width // self.heads
        count = self.heads // len(queries)  # heads of a group
        if bias is not None:
            bias = jnp.broadcast_to(bias, jnp.broadcast_shapes(bias.shape, (1, self.heads, 1, 1)))
        weights, mixed = [], []
        for group, (query, keys, values) in enumerate(zip(queries, *projected, strict=True)):
            query, keys, values = (x.reshape(*x.shape[:2], -1, size) for x in (query, keys, values))
            logits = _compare(query * size**-0.5, keys)
            if bias is not None:
                logits = logits + bias[:, group * count : (group + 1) * count]
            if visible is None:
                weights.append(jax.nn.softmax(logits.astype(jnp.float32), axis=-1))
            else:
                weights.append(masked_softmax(logits, visible[:, None]))
            kept = self.drop(weights[group], deterministic=deterministic).astype(query.dtype)
            mixed.append(_average(kept, values).reshape(*query.shape[:2], -1))
        return self.out(jnp.concatenate(mixed, axis=-1)), jnp.concatenate(weights, axis=1)


def _compare(queries: jax.Array, keys: jax.Array) -> jax.Array:
    """Inner products [B, H, Q, L] of queries [B, Q, H, D / H] and keys [B, L, H, D / H]."""
    if queries.shape[1] == 1 and find_platform() != "cpu":
        # One query: a product of a matrix and a vector, for which products have to move the heads.
        return jnp.expand_dims((queries * keys).sum(axis=3).swapaxes(1, 2), 2)
    return jnp.einsum("bqhd,blhd->bhql", queries, keys)


def _average(weights: jax.Array, values: jax.Array) -> jax.Array:
    """Sums [B, Q, H, D / H] of values [B, L, H, D / H] by weights [B, H, Q, L]."""
    if weights.shape[2] == 1 and find_platform() != "cpu":
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
