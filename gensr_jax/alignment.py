"""Contrastive alignment of the two pooled views.

Shapes: [R] pairs (rows)  [D] width
Source: InfoNCE of the paper. `published_contrast` is what the released code computes: L2 before
LayerNorm gives vectors of norm sqrt(D) and logits in the thousands.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from common.nn.attention import NEGATIVE
from common.nn.losses import masked_average

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
    same = (user[:, None] == user) | (item[:, None] == item)
    twin = (user[:, None] == user) & (item[:, None] == item) & valid
    earlier = jnp.arange(len(user)) < jnp.arange(len(user))[:, None]
    counted = valid & ~(twin & earlier).any(axis=1)
    own = jnp.eye(len(user), dtype=bool)
    hidden = ~own & (same | ~counted)
    ours, theirs = normalise(collaborative), normalise(semantic)
    return _contrast_both(ours, theirs, temperature, hidden, counted)


def published_contrast(
    collaborative: jax.Array, semantic: jax.Array, temperature: float, valid: jax.Array
) -> jax.Array:
    """The released loss: every row against every other, float32 [].

    collaborative, semantic: float32 [R, D], first normalised, then behind a LayerNorm each
    """
    hidden = ~valid[None] & ~jnp.eye(len(valid), dtype=bool)
    return _contrast_both(collaborative, semantic, temperature, hidden, valid)


def _contrast_both(
    ours: jax.Array,
    theirs: jax.Array,
    temperature: jax.Array | float,
    hidden: jax.Array,
    counted: jax.Array,
) -> jax.Array:
    """Mean over the counted rows of InfoNCE from either side; hidden: bool [R, R], no negatives."""
    own = jnp.eye(len(ours), dtype=bool)

    def contrast(rows: jax.Array, others: jax.Array) -> jax.Array:
        # A product for each side, and no `diagonal`: devices that share the rows would exchange
        # the transposed logits, and indices.
        logits = rows @ others.T / temperature
        positive = jnp.where(own, logits, 0.0).sum(axis=1)
        total = jax.nn.logsumexp(jnp.where(hidden, NEGATIVE, logits), axis=1)
        return masked_average(total - positive, counted)

    return 0.5 * (contrast(ours, theirs) + contrast(theirs, ours))
