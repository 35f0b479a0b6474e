"""The losses of recommendation that several models share. In float32, means over valid rows only.

Shapes: [B] rows  [C] candidates  [I] items  [D] width
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import optax

from common.nn.attention import NEGATIVE
from common.nn.shards import count_shards, splits_tables
from common.platform import find_platform

# The fused softmax makes at most so many scores at a time, 256 MB. XLA keeps two arrays of that
# size, so without this bound the memory would grow with the catalogue.
BLOCK_SCORES = 2**26
BLOCK = 128  # its rows at a time on a CPU: their scores of 12,000 items stay in the cache
_MOST_SHARE = 0.999  # of all draws that the positive may have; another item is always possible


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

    scores [B, C]; log_share [B, C]: log of the probability with which one draw gives each
    candidate. The negatives must be drawn without the positive, as `TrainingNegatives` does: so
    each stands for 1 / (expected count) items, and the positive, which is always there, for itself.
    With more negatives the gradient approaches that of the softmax over the whole catalogue.
    Source: Blanc and Rendle, arXiv 1712.00527, section 2; correcting the positive as well, as is
    customary, leaves a bias (arXiv 2507.09331).
    """
    others = jnp.log1p(-jnp.minimum(jnp.exp(log_share[:, :1]), _MOST_SHARE))
    log_count = jnp.log(scores.shape[1] - 1.0) + log_share[:, 1:] - others
    logits = scores.astype(jnp.float32).at[:, 1:].add(-log_count)
    return masked_average(-jax.nn.log_softmax(logits)[:, 0], valid)


def catalogue_softmax(scores: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """Exact softmax cross-entropy over the whole catalogue.

    scores [B, I + 1], column 0 the padding item, which is left out; target int32 [B].
    """
    logits = scores.astype(jnp.float32).at[:, 0].set(NEGATIVE)
    return masked_average(optax.softmax_cross_entropy_with_integer_labels(logits, target), valid)


@jax.custom_vjp
def fused_softmax(
    states: jax.Array, table: jax.Array, target: jax.Array, valid: jax.Array
) -> jax.Array:
    """`catalogue_softmax` of the scores `states @ table.T`, which never exist as a whole.

    states float32 [B, D]; table float32 [I + 1, D], row 0 the padding item; target int32 [B].
    The gradient is made along with the value. On a CPU, where products are dear, the blocks are of
    rows: one product less than making the scores again. Elsewhere, where memory traffic is dear,
    they are of items (docs/performance.md).
    Beside the gradients it takes at most 2 * 4 * BLOCK_SCORES bytes and two copies of the table.
    Where a mesh is around the call (`jax.sharding.use_abstract_mesh`), each of its devices goes
    through the rows that it has.
    """
    return _run_fused(states, table, target, valid)[0]


def _run_fused(
    states: jax.Array, table: jax.Array, target: jax.Array, valid: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    rows, width = states.shape
    weight = valid.astype(jnp.float32) / jnp.maximum(valid.astype(jnp.float32).sum(), 1.0)
    shards = count_shards(rows)
    # A block of a table that several devices share would have to be sent to all of them.
    by_rows = splits_tables() or find_platform() == "cpu"
    scan = scan_rows if by_rows else scan_items
    if shards == 1:  # in a batch of one XLA would keep another array as large as a block's scores
        log_total, state_grad, table_grad = scan(states, weight, table)
    else:
        # Every shard adds up its own gradient of the table; the shards are added up once.
        log_total, state_grad, table_grads = jax.vmap(scan, (0, 0, None))(
            states.reshape(shards, -1, width), weight.reshape(shards, -1), table
        )
        log_total, state_grad = log_total.reshape(rows), state_grad.reshape(rows, width)
        table_grad = table_grads.sum(axis=0)
    wanted = table[target]
    loss = ((log_total - (states * wanted).sum(axis=1)) * weight).sum()
    state_grad = state_grad - wanted * weight[:, None]
    table_grad = table_grad.at[target].add(-states * weight[:, None])
    return loss, (state_grad, table_grad)


def scan_rows(
    states: jax.Array, weight: jax.Array, table: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The logsumexp [R] of the scores of rows [R, D], and the gradients of its weighted sum: those
    of the states [R, D] and of the table. Some rows at a time, with the whole catalogue."""
    rows, width = states.shape
    size = choose_rows(table.shape[0])
    blocks = -(-rows // size)
    padding = (0, blocks * size - rows)
    blocked = jnp.pad(states, (padding, (0, 0))).reshape(blocks, size, width)
    weights = jnp.pad(weight, padding).reshape(blocks, size)
    hide_padding_item = jnp.zeros(table.shape[0]).at[0].set(NEGATIVE)

    def step(
        table_grad: jax.Array, block: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        state, own_weight = block
        scores = state @ table.T + hide_padding_item
        largest = scores.max(axis=1, keepdims=True)
        mass = jnp.exp(scores - largest)
        total = mass.sum(axis=1)
        share = mass * (own_weight / total)[:, None]
        return table_grad + share.T @ state, (jnp.log(total) + largest[:, 0], share @ table)

    table_grad, (log_total, state_grad) = jax.lax.scan(
        step, jnp.zeros_like(table), (blocked, weights)
    )
    return log_total.reshape(-1)[:rows], state_grad.reshape(-1, width)[:rows], table_grad


def choose_rows(items: int) -> int:
    """Rows at a time: at most BLOCK, at least 8, a multiple of 8."""
    return min(BLOCK, max(BLOCK_SCORES // items // 8, 1) * 8)


def scan_items(
    states: jax.Array, weight: jax.Array, table: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`scan_rows` with some items at a time, for all rows.

    The table and its gradient go through the memory once instead of once for each block of rows,
    and the softmax becomes part of the products that follow; for it the scores are made twice.
    """
    rows, (items, width) = len(states), table.shape
    size = min(items, max(BLOCK_SCORES // rows // 128, 1) * 128)
    blocks = -(-items // size)
    padded = jnp.pad(table, ((0, blocks * size - items), (0, 0))).reshape(blocks, size, width)
    places = jnp.arange(blocks * size).reshape(blocks, size)
    hidden = jnp.where((places == 0) | (places >= items), NEGATIVE, 0.0)

    def add_up(
        carry: tuple[jax.Array, jax.Array], block: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        (before, mass), (vectors, hide) = carry, block
        scores = states @ vectors.T + hide
        largest = jnp.maximum(before, scores.max(axis=1))
        own = jnp.exp(scores - largest[:, None]).sum(axis=1)
        return (largest, mass * jnp.exp(before - largest) + own), None

    start = jnp.full(rows, NEGATIVE), jnp.zeros(rows)
    (largest, mass), _ = jax.lax.scan(add_up, start, (padded, hidden))
    log_total = jnp.log(mass) + largest

    def differentiate(
        state_grad: jax.Array, block: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        vectors, hide = block
        scores = states @ vectors.T + hide
        share = jnp.exp(scores - log_total[:, None]) * weight[:, None]
        return state_grad + share @ vectors, share.T @ states

    state_grad, grads = jax.lax.scan(differentiate, jnp.zeros_like(states), (padded, hidden))
    return log_total, state_grad, grads.reshape(-1, width)[:items]


def _scale_fused(
    grads: tuple[jax.Array, jax.Array], factor: jax.Array
) -> tuple[jax.Array, jax.Array, None, None]:
    return grads[0] * factor, grads[1] * factor, None, None


fused_softmax.defvjp(_run_fused, _scale_fused)
