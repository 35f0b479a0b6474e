"""Dropout that draws 16 random bits for a number instead of 32."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

LEVELS = 1 << 16


class Dropout(nn.Module):
    """Sets numbers to zero with probability `rate` and scales the others up; off if deterministic.

    The same distribution as `flax.linen.Dropout`, except that the rate is a multiple of 1/65,536;
    on a CPU drawing the bits is most of its time.
    """

    rate: float
    deterministic: bool | None = None

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool | None = None) -> jax.Array:
        if nn.merge_param("deterministic", self.deterministic, deterministic) or self.rate == 0:
            return x
        return drop_at_random(self.make_rng("dropout"), x, self.rate)


def drop_at_random(key: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """x [...] with each number either zero or divided by the probability of being kept."""
    kept = LEVELS - round(rate * LEVELS)
    if kept == 0:
        return jnp.zeros_like(x)
    half = -(-x.shape[-1] // 2)
    words = jax.random.bits(key, (*x.shape[:-1], half), jnp.uint32)
    draws = jax.lax.bitcast_convert_type(words, jnp.uint16).reshape(*x.shape[:-1], 2 * half)
    return jnp.where(draws[..., : x.shape[-1]] < kept, x * (LEVELS / kept), 0)
