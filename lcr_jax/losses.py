"""The stage-1 losses of LCR, as functions of arrays. All in float32, means over valid rows only.

Shapes: [B] batch  [C] candidates  [I] items  [K] reasoning steps  [L] history items  [D] width
        [n] random negatives
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from common.nn.attention import NEGATIVE


def masked_average(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of values [...] over the entries that mask [...] keeps; 0 where none is kept."""
    weights = mask.astype(jnp.float32)
    return (values * weights).sum() / jnp.maximum(weights.sum(), 1.0)


def binary_cross_entropy(scores: jax.Array, valid: jax.Array) -> jax.Array:
    """Binary cross-entropy of logits [B, C], positive in column 0, over rows with valid [B].

    Source: UniSAR and GSERec use 1 positive and 4 negatives (there behind a sigmoid).
    """
    labels = jnp.zeros_like(scores).at[:, 0].set(1.0)
    losses = optax.sigmoid_binary_cross_entropy(scores.astype(jnp.float32), labels)
    return masked_average(losses.mean(axis=1), valid)


def sampled_softmax(scores: jax.Array, log_share: jax.Array, valid: jax.Array) -> jax.Array:
    """Softmax cross-entropy over a positive (column 0) and sampled negatives, with logQ correction.

    scores [B, C]; log_share [B, C]: log of the probability with which each candidate is drawn as a
    negative. The correction is applied to every column.
    """
    logits = scores.astype(jnp.float32) - log_share
    return masked_average(-jax.nn.log_softmax(logits)[:, 0], valid)


def catalogue_softmax(scores: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """Exact softmax cross-entropy over the whole catalogue.

    scores [B, I + 1], column 0 the padding item, which is left out; target int32 [B].
    """
    logits = scores.astype(jnp.float32).at[:, 0].set(NEGATIVE)
    return masked_average(optax.softmax_cross_entropy_with_integer_labels(logits, target), valid)


def contrastive_alignment(
    states: jax.Array,
    items: jax.Array,
    target: jax.Array,
    taken: jax.Array,
    log_popularity: jax.Array,
    valid: jax.Array,
    temperatures: jax.Array,
) -> jax.Array:
    """InfoNCE between each reasoning state and its row's target item, averaged over steps.

    states [K, B, D] and items [B, D] are already mapped; target int32 [B]; taken int32 [B, L]:
    items of the row's history, 0 pads; log_popularity [B] of the targets; temperatures [K].
    Other rows with the same target, or with a target that the row's history holds, are no
    negatives; padded rows are on neither side. Cosine over temperature minus log popularity.
    Aligning states with the target: abstract of arXiv 2508.04152; the form is ours.
    """
    same = target[:, None] == target[None, :]
    held = (taken[:, :, None] == target[None, None, :]).any(axis=1)
    own = jnp.eye(target.shape[0], dtype=bool)
    allowed = (own | ~(same | held)) & (valid != 0)[None, :]
    cosine = jnp.einsum("kbd,jd->kbj", _unit(states), _unit(items)).astype(jnp.float32)
    logits = cosine / temperatures[:, None, None] - log_popularity
    logits = jnp.where(allowed, logits, NEGATIVE)
    losses = -jnp.diagonal(jax.nn.log_softmax(logits), axis1=1, axis2=2)
    return masked_average(losses.mean(axis=0), valid)


def query_item_alignment(
    queries: jax.Array,
    items: jax.Array,
    other_queries: jax.Array,
    other_items: jax.Array,
    real: jax.Array,
    form: jax.Array,
    temperature: jax.Array,
) -> jax.Array:
    """Brings queries and the items clicked for them together: InfoNCE both ways.

    queries, items [m, D]: pairs, of which `real` bool [m] count; other_* [n, D]: random negatives;
    form [D, D]; similarity tanh(q^T form i) / temperature. 0 where no pair is real.
    Source: SESRec and UniSAR (1,024 random negatives).
    """
    positive = jnp.tanh(jnp.einsum("md,de,me->m", queries, form, items))
    with_items = jnp.tanh(queries @ form @ other_items.T)
    with_queries = jnp.tanh(items @ form.T @ other_queries.T)

    def loss(negatives: jax.Array) -> jax.Array:
        logits = jnp.concatenate([positive[:, None], negatives], axis=1) / temperature
        return masked_average(-jax.nn.log_softmax(logits.astype(jnp.float32))[:, 0], real)

    return 0.5 * (loss(with_items) + loss(with_queries))


def _unit(vectors: jax.Array) -> jax.Array:
    # The floor keeps the gradient of a zero vector finite.
    square = (vectors * vectors).sum(axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
