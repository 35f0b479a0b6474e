"""The layers of T5 v1.1: norm, attention with its relative bias, gated feed-forward.

Every linear layer is one kernel [in, out] without a bias. Parameters are float32; products are made
in the dtype of their input, norms and softmax in float32. Nothing divides by the square root of the
head width: T5 has that in its initial values.

Source: Raffel et al. 2020 (arXiv 1910.10683) and their public code; for v1.1 Shazeer 2020 (arXiv
2002.05202).

Shapes: [R] rows  [L] encoded positions  [S] decoded positions  [D] width  [H] heads  [K] head width
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from common.nn.attention import masked_softmax
from common.nn.dropout import Dropout

EPSILON = 1e-6


class RMSNorm(nn.Module):
    """Division by the root of the mean square over the last axis, then a gain; in float32."""

    width: int

    def setup(self) -> None:
        self.scale = self.param("scale", nn.initializers.ones, (self.width,))

    def __call__(self, x: jax.Array) -> jax.Array:
        wide = x.astype(jnp.float32)
        power = jnp.square(wide).mean(axis=-1, keepdims=True)
        return (wide * jax.lax.rsqrt(power + EPSILON) * self.scale).astype(x.dtype)


def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., D] times kernel [D, E], over rows [-1, D] and in the dtype of x."""
    rows = x.reshape(-1, x.shape[-1]) @ kernel.astype(x.dtype)
    return rows.reshape(*x.shape[:-1], kernel.shape[-1])


class Attention(nn.Module):
    """Multi-head attention: over a sequence, from a single query, or over a single key.

    The three share the kernels q, k, v [D, H * K] and o [H * K, D].
    """

    width: int
    heads: int
    head_width: int
    dropout: float

    def setup(self) -> None:
        inner = self.heads * self.head_width
        into, spread = (self.width, inner), self.width**-0.5
        normal = nn.initializers.normal
        self.q = self.param("q", normal(spread * self.head_width**-0.5), into)
        self.k = self.param("k", normal(spread), into)
        self.v = self.param("v", normal(spread), into)
        self.o = self.param("o", normal(inner**-0.5), (inner, self.width))
        self.drop = Dropout(self.dropout)

    def __call__(
        self,
        x: jax.Array,
        memory: jax.Array,
        mask: jax.Array,
        bias: jax.Array | None,
        deterministic: bool,
    ) -> jax.Array:
        """Attends from x [R, S, D] to memory [R, L, D].

        mask: bool, broadcasts to [R, S, L]; bias: float32 [H, S, L], added to the logits, or None
        Returns [R, S, D].
        """
        query, key, value = (
            self._cut(x, self.q),
            self._cut(memory, self.k),
            self._cut(memory, self.v),
        )
        logits = _product("rshk,rlhk->rhsl", query, key)
        if bias is not None:
            logits = logits + bias
        weights = masked_softmax(logits, mask[:, None])
        weights = self.drop(weights, deterministic=deterministic).astype(x.dtype)
        mixed = jnp.einsum("rhsl,rlhk->rshk", weights, value)
        return multiply(mixed.reshape(*x.shape[:2], -1), self.o)

    def attend_once(
        self, x: jax.Array, memory: jax.Array, mask: jax.Array, deterministic: bool
    ) -> jax.Array:
        """`__call__` for one query [R, D] a row, without keys and values of the memory.

        The key kernel is applied to the query and the value kernel to the mixed memory: the same
        numbers by the associative law, at 1 / 40 of the FLOP for 110 positions. Ours.
        memory [R, L, D], mask bool [R, L]; returns [R, D].
        """
        query = self._cut(x, self.q)
        folded = jnp.einsum("rhk,dhk->rhd", query, self._by_head(self.k, x.dtype))
        logits = _product("rhd,rld->rhl", folded, memory)
        weights = self.drop(masked_softmax(logits, mask[:, None]), deterministic=deterministic)
        mixed = jnp.einsum("rhl,rld->rhd", weights.astype(x.dtype), memory)
        values = jnp.einsum("rhd,dhk->rhk", mixed, self._by_head(self.v, x.dtype))
        return multiply(values.reshape(x.shape[0], -1), self.o)

    def attend_to_itself(self, x: jax.Array, deterministic: bool) -> jax.Array:
        """`__call__` from one position [R, D] to itself: its weight is 1, whatever q and k are."""
        values = self._cut(x, self.v)
        weights = self.drop(jnp.ones(values.shape[:2], x.dtype), deterministic=deterministic)
        return multiply((values * weights[..., None]).reshape(x.shape[0], -1), self.o)

    def _cut(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """x [..., D] times a kernel, cut into heads: [..., H, K]."""
        return multiply(x, kernel).reshape(*x.shape[:-1], self.heads, self.head_width)

    def _by_head(self, kernel: jax.Array, dtype: jnp.dtype) -> jax.Array:
        return kernel.astype(dtype).reshape(self.width, self.heads, self.head_width)


def _product(subscripts: str, left: jax.Array, right: jax.Array) -> jax.Array:
    """A product whose sums come in float32, as the softmax wants them."""
    return jnp.einsum(subscripts, left, right, preferred_element_type=jnp.float32)


class FeedForward(nn.Module):
    """(gelu(x wi_0) * x wi_1) wo with the tanh form of GELU; [..., D] -> [..., D]."""

    width: int
    inner: int
    dropout: float

    def setup(self) -> None:
        into, normal = (self.width, self.inner), nn.initializers.normal
        self.wi_0 = self.param("wi_0", normal(self.width**-0.5), into)
        self.wi_1 = self.param("wi_1", normal(self.width**-0.5), into)
        self.wo = self.param("wo", normal(self.inner**-0.5), (self.inner, self.width))
        self.drop = Dropout(self.dropout)

    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        gated = nn.gelu(multiply(x, self.wi_0), approximate=True) * multiply(x, self.wi_1)
        return multiply(self.drop(gated, deterministic=deterministic), self.wo)


def relative_buckets(
    queries: int, keys: int, both_sides: bool, buckets: int, max_distance: int
) -> np.ndarray:
    """The bucket of every (query, key) pair by the distance of their positions.

    Short distances have a bucket each, longer ones share buckets of equal ratio, and all from
    `max_distance` on share the last. both_sides: keys after the query have the upper half of the
    buckets; otherwise they count as distance 0 (the decoder, which never sees them).
    Returns int32 [queries, keys] in 0 .. buckets - 1.
    """
    after = np.arange(keys)[None, :] - np.arange(queries)[:, None]
    offset = np.zeros_like(after)
    if both_sides:
        buckets //= 2
        offset = buckets * (after > 0)
        distance = np.abs(after)
    else:
        distance = np.maximum(-after, 0)
    exact = buckets // 2
    share = np.log(np.maximum(distance, 1) / exact) / np.log(max_distance / exact)
    # The small term: a distance that is on a boundary must not fall below it by rounding.
    far = np.minimum(exact + np.floor(share * (buckets - exact) + 1e-6), buckets - 1)
    return (offset + np.where(distance < exact, distance, far)).astype(np.int32)


def relative_bias(table: jax.Array, buckets: np.ndarray) -> jax.Array:
    """The attention bias float32 [H, S, L] of buckets [S, L] from a table [buckets, H]."""
    # A product with ones and zeros: its gradient is a product too, not a scatter into few rows.
    chosen = jax.nn.one_hot(buckets.reshape(-1), table.shape[0], dtype=jnp.float32)
    return jnp.dot(table.T, chosen.T, precision="highest").reshape(-1, *buckets.shape)
