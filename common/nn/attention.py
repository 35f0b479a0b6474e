"""Masked attention and the transformer layer that several models share.

Shapes: [B] batch  [Q] queries  [L] keys  [D] width  [H] heads
"""

from __future__ import annotations

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dense import Dense, HeadDense
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
    total = jnp.einsum("...ld,...l->...d", values, weights)
    return total / jnp.maximum(weights.sum(axis=-1), 1.0)[..., None]


class Projected(NamedTuple):
    """Keys and values, one array [B, L, D / H] for each head."""

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]


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
        self.query = HeadDense(self.width, self.heads)
        self.key = HeadDense(self.width, self.heads)
        self.value = HeadDense(self.width, self.heads)
        self.out = Dense(self.width)
        self.drop = Dropout(self.dropout)

    def project(self, memory: jax.Array) -> Projected:
        """Keys and values of a memory [B, L, D]."""
        return Projected(self.key(memory), self.value(memory))

    def attend(
        self,
        queries: jax.Array,
        projected: Projected,
        mask: jax.Array,
        deterministic: bool,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Attends from queries [B, Q, D] to a projected memory.

        mask: bool [B, L], the same for all queries, or [B, Q, L].
        bias: float32, broadcasts to [B, H, Q, L]: added to the logits before the mask.
        Returns the mixed values [B, Q, D] and the weights float32 [B, H, Q, L] before dropout.
        """
        chex.assert_rank([queries, mask], [3, {2, 3}])
        visible = mask if mask.ndim == 3 else mask[:, None]
        scale = (self.width // self.heads) ** -0.5
        if bias is not None:
            bias = jnp.broadcast_to(bias, jnp.broadcast_shapes(bias.shape, (1, self.heads, 1, 1)))
        weights, mixed = [], []
        # Head by head: one product over all heads has to move the heads' axis, three times.
        for head, query in enumerate(self.query(queries)):
            logits = jnp.einsum("bqd,bld->bql", query * scale, projected.keys[head])
            if bias is not None:
                logits = logits + bias[:, head]
            weights.append(masked_softmax(logits, visible))
            kept = self.drop(weights[head], deterministic=deterministic).astype(query.dtype)
            mixed.append(jnp.einsum("bql,bld->bqd", kept, projected.values[head]))
        return self.out(jnp.concatenate(mixed, axis=-1)), jnp.stack(weights, axis=1)

    def __call__(
        self,
        queries: jax.Array,
        memory: jax.Array,
        mask: jax.Array,
        deterministic: bool,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """`project` and `attend` in one call."""
        return self.attend(queries, self.project(memory), mask, deterministic, bias)


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
