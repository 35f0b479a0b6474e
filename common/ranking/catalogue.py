"""Ranks of the positive among all items of the catalogue, counted on the device in chunks.

The [rows, items] matrix never exists: chunks of items are scored and counted one after another
in one compiled loop. Ties are exact because the positive's score is read from the very product
that scores the others: a separate dot product can differ in its last bit and turn a tie into a
win. For the same reason a loop over several chunks runs one body for both of its passes (first
find the positives' scores, then count), and chunks are multiples of 256 items: measured on CPU,
products over multiples of 64 columns give the same bits whatever the chunk and the batch size
(from two rows on), others do not.

Shapes: [B] batch  [F] filtered items per row  [I] items of a chunk  [K] chunks
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from common.precision import exact_products
from common.ranking.blind import check_scores

CHUNK_BYTES = 512 * 2**20
# Where one chunk does not do, all are scored twice anyway, and scores that stay in the cache are
# 1.4 times as fast: 809 users/s against 570 (673,415 items, width 64, batch 512, 2 CPU cores).
CACHE_BYTES = 32 * 2**20
_ALIGN = 256


class Counts(NamedTuple):
    """What the catalogue says about each row."""

    greater: jax.Array  # int32 [B], items that score above the positive
    equal: jax.Array  # int32 [B], other items that score the same
    broken: jax.Array  # int32 [B], an item whose score is not finite; 0 = none


def split_catalogue(n_items: int, batch_size: int, chunk_bytes: int = CHUNK_BYTES) -> np.ndarray:
    """Item ids 1..n_items in equal chunks: int32 [K, I], 0 pads at the end.

    One chunk where its float32 scores [batch_size, I] stay within `chunk_bytes`; else I is the
    largest power of two whose scores stay within that and CACHE_BYTES, and at least 256.
    """
    size = -(-n_items // _ALIGN) * _ALIGN
    if 4 * batch_size * size > chunk_bytes:
        fitting = max(min(chunk_bytes, CACHE_BYTES) // (4 * batch_size), _ALIGN)
        size = min(1 << (fitting.bit_length() - 1), size)
    items = np.arange(1, -(-n_items // size) * size + 1, dtype=np.int32)
    return np.where(items <= n_items, items, 0).reshape(-1, size)


def count_catalogue(
    score: Callable[[jax.Array], jax.Array],
    target: jax.Array,
    seen: jax.Array,
    items: np.ndarray,
) -> Counts:
    """Counts, for each row, the real items above and equal to its positive.

    As `rank_positives`, without their scores.
    """
    return rank_positives(score, target, seen, items)[1]


def rank_positives(
    score: Callable[[jax.Array], jax.Array],
    target: jax.Array,
    seen: jax.Array,
    items: np.ndarray,
) -> tuple[jax.Array, Counts]:
    """The score of each row's positive, float32 [B], and how many real items are above and equal.

    score:  int32 [I] items -> [B, I] scores, ranked in float32
    target: int32 [B], the positive; left out by its id, not by its score
    seen:   int32 [B, F], items left out of each row: distinct, without the target, 0 pads
    items:  int32 [K, I] as from `split_catalogue`
    What `score` computes without its items (the encoder) runs once: XLA moves it out of the loop.
    """
    chunks = jnp.asarray(items)
    start = (jnp.zeros(target.shape, jnp.float32), Counts(*[jnp.zeros_like(target)] * 3))
    if len(chunks) == 1:
        scores = score_chunk(score, chunks[0], len(target))
        return _count(_find(start, scores, chunks[0], target), scores, chunks[0], target, seen)

    def step(
        carry: tuple[jax.Array, Counts], chunk_and_pass: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, Counts], None]:
        chunk, counting = chunk_and_pass
        scores = score_chunk(score, chunk, len(target))
        carry = lax.cond(
            counting,
            lambda carry: _count(carry, scores, chunk, target, seen),
            lambda carry: _find(carry, scores, chunk, target),
            carry,
        )
        return carry, None

    twice = jnp.concatenate([chunks, chunks])
    counting = jnp.arange(len(twice)) >= len(chunks)
    return lax.scan(step, start, (twice, counting))[0]


def score_chunk(score: Callable[[jax.Array], jax.Array], chunk: jax.Array, rows: int) -> jax.Array:
    """Scores of one chunk, float32 [B, I], products without TF32 or bf16 short cuts.

    Raises InputError for scores of another form.
    """
    with exact_products():
        return check_scores(score(chunk), (rows, len(chunk)), "the scores of the catalogue")


def _pick(scores: jax.Array, chunk: jax.Array, wanted: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scores of the items `wanted` [B, F], and whether the chunk holds them (bool [B, F])."""
    place = wanted - chunk[0]  # ids of a chunk are consecutive
    inside = (wanted > 0) & (place >= 0) & (place < len(chunk))
    return jnp.take_along_axis(scores, jnp.clip(place, 0, len(chunk) - 1), axis=1), inside


def _find(
    carry: tuple[jax.Array, Counts], scores: jax.Array, chunk: jax.Array, target: jax.Array
) -> tuple[jax.Array, Counts]:
    """Takes the positives' scores from the chunk that holds them."""
    positive, counts = carry
    found, inside = _pick(scores, chunk, target[:, None])
    return jnp.where(inside[:, 0], found[:, 0], positive), counts


def _count(
    carry: tuple[jax.Array, Counts],
    scores: jax.Array,
    chunk: jax.Array,
    target: jax.Array,
    seen: jax.Array,
) -> tuple[jax.Array, Counts]:
    """Adds one chunk: counts all its real items, then takes back the filtered ones."""
    positive, counts = carry
    own = positive[:, None]
    real = jnp.broadcast_to(chunk > 0, scores.shape)
    flags = (
        (real & (scores > own)).astype(jnp.int32),
        (real & (scores == own)).astype(jnp.int32),
        jnp.where(real & ~jnp.isfinite(scores), chunk[None, :], 0),
    )
    # One reduction of three counters: 8 ms a batch of 512 x 12,288 against 72 ms for three (CPU).
    zero = np.int32(0)
    greater, equal, broken = lax.reduce(
        flags,
        (zero, zero, zero),
        lambda a, b: (a[0] + b[0], a[1] + b[1], jnp.maximum(a[2], b[2])),
        (1,),
    )
    known, known_here = _pick(scores, chunk, seen)
    _, target_here = _pick(scores, chunk, target[:, None])
    greater -= jnp.sum(known_here & (known > own), axis=1, dtype=jnp.int32)
    equal -= jnp.sum(known_here & (known == own), axis=1, dtype=jnp.int32)
    equal -= target_here[:, 0].astype(jnp.int32)
    return positive, Counts(
        counts.greater + greater, counts.equal + equal, jnp.maximum(counts.broken, broken)
    )
