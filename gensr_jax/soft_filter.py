"""Soft filtering: a candidate weighs the entries of a history.

Shapes: [B] lists  [C] candidates  [E] entries  [W] width  [H] heads
Source: the paper's multi-head cross attention (`mca`); `bilinear` is what the released code
computes: one matrix, no scaling, no values.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import attend_by_head, masked_softmax

xavier = nn.initializers.xavier_normal()


def xavier_3d(key: jax.Array, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Xavier normal of a [1, d, d] array, as the released code draws it.

    Its fans are d^2 and d, so the deviation is sqrt(2 / (d^2 + d)): 0.0219 instead of 0.125 at
    d = 64. The attention starts as a plain average.
    """
    width = shape[-1]
    return jax.random.normal(key, shape, dtype) * (2 / (width**2 + width)) ** 0.5


class SoftFilter(nn.Module):
    """One vector per candidate out of the history, and the weights it was made with."""

    width: int
    heads: int
    kind: str = "mca"  # or "bilinear", "mean"
    start: str = "xavier"  # or "xavier3d"

    @nn.compact
    def __call__(
        self, candidates: jax.Array, entries: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Filters the history by each candidate.

        candidates [B, C, W]; entries [B, E, W]; mask bool [B, E]
        Returns [B, C, W] and weights float32 [B, C, E] (mean over heads). Weights of a history
        without a visible entry are zero. The entries are projected once per list.
        """
        if self.kind == "mean":
            shape = (*candidates.shape[:2], entries.shape[1])
            weights = masked_softmax(jnp.zeros(shape), mask[:, None])
            return _mix(weights, entries), weights
        if self.kind == "bilinear":
            form = self.param("form", self._start(), (self.width, self.width))
            # (H W) y = H (W y): C products instead of E.
            asked = candidates @ form.T.astype(candidates.dtype)
            weights = masked_softmax(jnp.einsum("bcw,bew->bce", asked, entries), mask[:, None])
            return _mix(weights, entries), weights
        return self._attend(candidates, entries, mask)

    def _attend(
        self, candidates: jax.Array, entries: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        query, key, value, out = (
            self.param(name, self._start(), (self.width, self.width)).astype(entries.dtype)
            for name in ("query", "key", "value", "out")
        )
        keys, values = jnp.split(entries @ jnp.concatenate([key, value], axis=1), 2, axis=-1)
        mixed, weights = attend_by_head(candidates @ query, keys, values, self.heads, mask)
        return mixed @ out, weights.mean(axis=1)

    def _start(self) -> nn.initializers.Initializer:
        return xavier_3d if self.start == "xavier3d" else xavier


def _mix(weights: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.einsum("bce,bew->bcw", weights.astype(values.dtype), values)
