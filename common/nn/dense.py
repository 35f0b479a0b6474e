"""Dense layers whose matrix products see one long axis of rows.

Flax multiplies [B, L, D] as it is. The gradient of the kernel then contracts over two axes, and on
a CPU XLA copies a transposed activation for it, which takes longer than the product. Over rows
[B * L, D] nothing is copied. Parameters are those of `flax.linen.Dense`.

Shapes: [D] input width  [E] output width
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn


class Dense(nn.Dense):
    """`flax.linen.Dense` for [..., D], computed as [rows, D]."""

    def __call__(self, x: jax.Array) -> jax.Array:
        rows = super().__call__(x.reshape(-1, x.shape[-1]))
        return rows.reshape(*x.shape[:-1], self.features)


class Weights(NamedTuple):
    """What a dense layer multiplies by and adds."""

    kernel: jax.Array  # [D, E]
    bias: jax.Array  # [E]


class DenseWeights(nn.Module):
    """The parameters of a dense layer to width E, for `multiply`: several layers of one input."""

    features: int

    @nn.compact
    def __call__(self, width: int) -> Weights:
        """width: D"""
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (width, self.features))
        return Weights(kernel, self.param("bias", nn.initializers.zeros, (self.features,)))


def multiply(x: jax.Array, layers: Sequence[Weights]) -> list[jax.Array]:
    """What each of several layers of width E makes of x [..., D]: [..., E], by one product."""
    rows = x.reshape(-1, x.shape[-1])
    whole = Weights(*(jnp.concatenate(part, axis=-1) for part in zip(*layers, strict=True)))
    results = jnp.split(rows @ whole.kernel + whole.bias, len(layers), axis=-1)
    return [result.reshape(*x.shape[:-1], -1) for result in results]
