"""The stage-1 losses of LCR, as functions of arrays. All in float32, means over valid rows only.

Shapes: [B] batch  [C] candidates  [I] items  [K] reasoning steps  [L] history items  [D] width
        [n] random negatives
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from common.nn.attention import NEGATIVE
from common.nn.losses import masked_average


class Targets(NamedTuple):
    """The target of each row, for losses that compare with the targets of other rows."""

    items: jax.Array  # [B, D], already mapped
    ids: jax.Array  # int32 [B]
    taken: jax.Array  # int32 [B, L]: items of the row's history, 0 pads
    log_popularity: jax.Array  # [B]
    valid: jax.Array  # [B]
    catalogue: int  # ids are below it


def contrastive_alignment(
    states: jax.Array, targets: Targets, temperatures: jax.Array, negatives: int
) -> jax.Array:
    """InfoNCE between each reasoning state and its row's target item, averaged over steps.

    states [B, K, D], already mapped; temperatures [K]. The negatives are the targets of at most
    `negatives` other rows of the batch, evenly spread over it, without those that are the row's own
    target or that its history holds; padded rows are on neither side. Cosine over temperature minus
    log popularity.
    Aligning states with the target: abstract of arXiv 2508.04152; the form is ours. The bound too:
    with all rows of a batch that many devices share, what each device holds would grow with them.
    """
    items, target, taken, log_popularity, valid, catalogue = targets
    # With a stride each device gives some of its own rows, and no more are sent than are compared.
    other = slice(None, None, -(-len(target) // negatives))
    allowed = ~_share_target(target, target[other], taken, catalogue) & (valid[other] != 0)
    states, items = unit(states) / temperatures[:, None], unit(items)
    # States as rows of one matrix: products with one long axis, as in `common.nn.dense`. With the
    # steps first, devices that share the rows of the batch would send them around.
    rows = states.reshape(-1, states.shape[2])
    logits = (rows @ items[other].T).reshape(*states.shape[:2], -1).astype(jnp.float32)
    logits = logits + jnp.where(allowed, -log_popularity[other], NEGATIVE)[:, None]
    positive = jnp.einsum("bkd,bd->bk", states, items).astype(jnp.float32)
    positive = positive - log_popularity[:, None]
    losses = jax.nn.softplus(jax.nn.logsumexp(logits, axis=2) - positive)
    return masked_average(losses.mean(axis=1), valid)


def evidence_likelihood(
    evidence: jax.Array,
    sources: jax.Array,
    targets: Targets,
    temperature: jax.Array,
    negatives: int,
) -> jax.Array:
    """Negative log-likelihood of the target under mixtures in which evidence is the weight.

    -log sum_n a_n p(target | n), averaged over steps and heads; p is the softmax of cosine /
    temperature - log popularity over the target and the targets of the first `negatives` rows
    (without those that are the target or in the history). The null event, n = 0, is the same for
    everybody: were it the user's intent, it would explain away the very searches that fit the user.
    evidence [B, K, H, N + 1]; sources [B, N + 1, D], already mapped.
    Source: ours. The recommendation loss alone does not care which search a state listens to, as
    long as the intent vetoes what does not fit; as a mixture, weight on a search that does not
    explain the target costs likelihood.
    """
    items, target, taken, log_popularity, valid, catalogue = targets
    other = slice(None, negatives)
    allowed = ~_share_target(target, target[other], taken, catalogue) & (valid[other] != 0)
    sources, items = unit(sources), unit(items)
    own = jnp.einsum("bnd,bd->bn", sources, items).astype(jnp.float32) / temperature
    own = own - log_popularity[:, None]
    rest = jnp.einsum("bnd,jd->bnj", sources, items[other]).astype(jnp.float32) / temperature
    rest = jnp.where(allowed[:, None], rest - log_popularity[other], NEGATIVE)
    log_share = own - jnp.logaddexp(own, jax.nn.logsumexp(rest, axis=2))
    joint = log_share[:, None, None] + jnp.log(evidence + 1e-9)
    return masked_average(-jax.nn.logsumexp(joint, axis=3).mean(axis=(1, 2)), valid)


def _share_target(
    target: jax.Array, others: jax.Array, taken: jax.Array, catalogue: int
) -> jax.Array:
    """bool [B, j]: whether others[j] is no negative of row b: its target, or in its history.

    All are ids below `catalogue`.
    """
    # A column for each distinct id and one for all the rest: comparing each event with each of the
    # others takes L times the memory, and looking for it in a sorted list a loop on a GPU.
    count = others.shape[0]
    column = jnp.full(catalogue, count).at[others].min(jnp.arange(count))
    own = column[others]

    # Row by row: devices that share the rows would send a table of all rows around.
    def find(columns: jax.Array) -> jax.Array:
        return jnp.zeros(count + 1, bool).at[columns].set(True)[own]

    return (target[:, None] == others) | jax.vmap(find)(column[taken])


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
    mapped = queries @ form
    positive = jnp.tanh((mapped * items).sum(axis=1)) / temperature
    with_items = jnp.tanh(mapped @ other_items.T) / temperature
    with_queries = jnp.tanh(items @ (other_queries @ form).T) / temperature

    def loss(negatives: jax.Array) -> jax.Array:
        total = jax.nn.logsumexp(negatives.astype(jnp.float32), axis=1)
        return masked_average(jax.nn.softplus(total - positive), real)

    return 0.5 * (loss(with_items) + loss(with_queries))


def unit(vectors: jax.Array) -> jax.Array:
    """Vectors [..., D] scaled to length 1; zeros stay zeros, with a finite gradient."""
    square = (vectors * vectors).sum(axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
