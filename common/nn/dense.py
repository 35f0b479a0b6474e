"""Dense layers whose matrix products see one long axis of rows.

Flax multiplies [B, L, D] as it is. The gradient of the kernel then contracts over two axes, and on
a CPU XLA copies a transposed activation for it, which takes longer than the product. Over rows
[B * L, D] nothing is copied. Parameters are those of `flax.linen.Dense`.

Shapes: [D] input width  [E] output width  [H] heads
"""

from __future__ import annotations

import jax
from flax import linen as nn


class Dense(nn.Dense):
    """`flax.linen.Dense` for [..., D], computed as [rows, D]."""

    def __call__(self, x: jax.Array) -> jax.Array:
        rows = super().__call__(x.reshape(-1, x.shape[-1]))
        return rows.reshape(*x.shape[:-1], self.features)


class HeadDense(nn.Module):
    """A dense layer to width E whose result comes in H parts [..., E / H], one for each head.

    Each head has a product of its own: to cut one result into heads means to copy it.
    """

    features: int
    heads: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, ...]:
        rows = x.reshape(-1, x.shape[-1])
        kernel = self.param(
            "kernel", nn.initializers.lecun_normal(), (rows.shape[1], self.features)
        )
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        parts = zip(split_heads(kernel, self.heads), split_heads(bias, self.heads), strict=True)
        shape = (*x.shape[:-1], self.features // self.heads)
        return tuple((rows @ weights + shift).reshape(shape) for weights, shift in parts)


def split_heads(x: jax.Array, heads: int) -> list[jax.Array]:
    """The H parts [..., E / H] of [..., E]."""
    size = x.shape[-1] // heads
    return [x[..., head * size : (head + 1) * size] for head in range(heads)]
