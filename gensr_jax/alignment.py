"""Contrastive alignment of the two pooled views.

Shapes: [R] pairs (rows)  [D] width
Source: InfoNCE of the paper. `published_contrast` is what the released code computes: L2 before
LayerNorm gives vectors of norm sqrt(D) and logits in the thousands.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from common.nn.attention import NEGATIVE

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 1.0


def normalise(x: jax.Array, epsilon: float = 1e-12) -> jax.Array:
    """x [..., D] divided by its l2 norm, in float32; zeros stay zeros with a finite gradient."""
    wide = x.astype(jnp.float32)
    square = jnp.square(wide).sum(axis=-1, keepdims=True)
    return wide * jax.lax.rsqrt(jnp.maximum(square, epsilon**2))


def contrast_views(
    collaborative: jax.Array,
    semantic: jax.Array,
    temperature: jax.Array,
    user: jax.Array,
    item: jax.Array,
    valid: jax.Array,
) -> jax.Array:
    """Symmetric InfoNCE over pairs of different users and items, float32 [].

    collaborative, semantic: [R, D], behind a LayerNorm each; temperature: float32 []
    user, item: int32 [R]; valid: bool [R]. A pair (user, item) that comes twice counts once, pairs
    that share a user or an item are no negatives of each other. 0 where no pair is valid.
    """
    logits = normalise(collaborative) @ normalise(semantic).T / temperature
    same = (user[:, None] == user) | (item[:, None] == item)
    twin = (user[:, None] == user) & (item[:, None] == item) & valid
    earlier = jnp.arange(len(user)) < jnp.arange(len(user))[:, None]
    counted = valid & ~(twin & earlier).any(axis=1)
    own = jnp.eye(len(user), dtype=bool)
    hidden = ~own & (same | ~counted)
    forward = jnp.where(hidden, NEGATIVE, logits)
    backward = jnp.where(hidden, NEGATIVE, logits.T)
    return 0.5 * (_diagonal_loss(forward, counted) + _diagonal_loss(backward, counted))


def published_contrast(
    collaborative: jax.Array, semantic: jax.Array, temperature: float, valid: jax.Array
) -> jax.Array:
    """The released loss: every row against every other, float32 [].

    collaborative, semantic: float32 [R, D], first normalised, then behind a LayerNorm each
    """
    logits = collaborative @ semantic.T / temperature
    hidden = ~valid[None] & ~jnp.eye(len(valid), dtype=bool)
    forward = jnp.where(hidden, NEGATIVE, logits)
    backward = jnp.where(hidden, NEGATIVE, logits.T)
    return 0.5 * (_diagonal_loss(forward, valid) + _diagonal_loss(backward, valid))


def _diagonal_loss(logits: jax.Array, counted: jax.Array) -> jax.Array:
    losses = jax.nn.logsumexp(logits, axis=1) - jnp.diagonal(logits)
    weights = counted.astype(jnp.float32)
    return (losses * weights).sum() / jnp.maximum(weights.sum(), 1.0)
