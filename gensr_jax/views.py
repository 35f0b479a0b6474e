"""The two views of a history: collaborative (CF vectors) and semantic (title tokens).

Each is a sequence of vectors, mixed by one post-norm transformer layer.

Shapes: [B] lists  [N] joint history, newest first  [T] title tokens  [E] entries of a view
        [W] width: d of the CF table, D of T5
Source: section "Dual Representation Learning" of the paper; layer form as in the released code
(post-norm, ReLU, two heads). Positions and the "no history" entry are ours.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import MultiHeadAttention
from common.nn.dense import Dense
from common.nn.dropout import Dropout
from common.nn.norm import LayerNorm

POSITION_STD = 0.02
# Epsilon of torch's layer norm, which the released code uses.
EPSILON = 1e-5


class ViewLayer(nn.Module):
    """One post-norm transformer layer without order: [B, E, W] under a mask bool [B, E].

    Rows of nothing but pads give finite numbers, not NaN.
    """

    width: int
    heads: int
    dropout: float

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, deterministic: bool) -> jax.Array:
        drop = Dropout(self.dropout, deterministic=deterministic)
        attention = MultiHeadAttention(self.width, self.heads, self.dropout)
        mixed, _ = attention(x, x, mask, deterministic)
        x = LayerNorm(EPSILON)(x + drop(mixed))
        inner = drop(nn.relu(Dense(self.width, name="inner")(x)))
        return LayerNorm(EPSILON)(x + drop(Dense(self.width, name="outer")(inner)))


class HistoryView(nn.Module):
    """Entries of a history -> encoded entries, with recency and a "no history" entry in front."""

    width: int
    heads: int
    dropout: float
    length: int  # N
    positions: bool
    null_history: bool
    token_places: int = 0  # T where an item has several entries; 0 = one entry per item

    @nn.compact
    def __call__(
        self, entries: jax.Array, mask: jax.Array, deterministic: bool
    ) -> tuple[jax.Array, jax.Array]:
        """Encodes a history.

        entries: [B, N, W] or, with token places, [B, N, T, W]; mask: bool, without the width
        Returns H [B, E, W] and its mask bool [B, E]; E = N (* T), and one more for "no history"
        at index 0.
        """
        rows = entries.shape[0]
        normal = nn.initializers.normal(POSITION_STD)
        if self.positions:
            recency = self.param("recency", normal, (self.length, self.width))
            between = (1,) if self.token_places else ()
            entries = entries + recency.reshape(self.length, *between, self.width)
            if self.token_places:
                entries = entries + self.param("place", normal, (self.token_places, self.width))
        x, visible = entries.reshape(rows, -1, self.width), mask.reshape(rows, -1)
        if self.null_history:
            null = self.param("null", normal, (self.width,))
            x = jnp.concatenate([jnp.broadcast_to(null, (rows, 1, self.width)), x], axis=1)
            visible = jnp.pad(visible, ((0, 0), (1, 0)), constant_values=True)
        layer = ViewLayer(self.width, self.heads, self.dropout, name="layer")
        return layer(x, visible, deterministic), visible


def sum_per_item(weights: jax.Array, items: int, null_history: bool) -> jax.Array:
    """Weights per entry [B, C, E] -> per history item [B, C, N + 1], index 0 "no history".

    items: N; where an item has several entries their weights are added.
    """
    if not null_history:
        weights = jnp.pad(weights, ((0, 0), (0, 0), (1, 0)))
    rows, candidates = weights.shape[:2]
    real = weights[..., 1:].reshape(rows, candidates, items, -1).sum(axis=-1)
    return jnp.concatenate([weights[..., :1], real], axis=-1)
