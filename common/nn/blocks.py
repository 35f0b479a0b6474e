"""Scoring many items by a model that cannot see all pairs of rows and items at once.

Shapes: [B] batch  [n] items  [S] items of a block
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp


def score_blocks(score: Callable[[jax.Array], jax.Array], items: jax.Array, size: int) -> jax.Array:
    """Scores [B, n] of items, S at a time, one block after the other.

    score: items int32 [S], or [B, S], -> their scores [B, S]; the last block ends with padding, 0
    items: int32 [n], the same for every row, or [B, n], each row's own
    size:  S
    """
    *rows, count = items.shape
    blocks = -(-count // size)
    padded = jnp.pad(items, [*[(0, 0)] * len(rows), (0, blocks * size - count)])
    cut = jnp.moveaxis(padded.reshape(*rows, blocks, size), -2, 0)
    scores = jax.lax.map(score, cut).swapaxes(0, 1)
    return scores.reshape(len(scores), -1)[:, :count]
