"""What a rollout is paid: candidates, tie-aware ranks, rewards and group-relative advantages.

Shapes: [B] batch  [C] candidates, the positive in column 0  [G] rollouts  [L] history items
"Optimising ranking directly" by reinforcement: abstract of arXiv 2508.04152; every detail is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp

from common.nn.attention import NEGATIVE

SPREAD_FLOOR = 1e-4  # added to a group's standard deviation; as LARES and GRPO do


class Candidates(NamedTuple):
    """Items to rank, the same for all rollouts of a user."""

    items: jax.Array  # int32 [B, C]
    allowed: jax.Array  # bool [B, C]; what is not allowed takes part in no rank; column 0 is True


def draw_candidates(
    batch: Mapping[str, jax.Array], negatives: int, in_batch: int, key: jax.Array
) -> Candidates:
    """The positive, the first `negatives` of batch["negatives"], and targets of other rows.

    Not allowed: the positive again, an item of the row's own history (rec items and clicks), one
    that stands further left already, and the padding item. C = 1 + negatives + in_batch, fewer in
    a batch of fewer rows.
    """
    target = batch["target"]
    rows = target.shape[0]
    # Distances to other rows, all different: no row meets itself or the same row twice.
    away = 1 + jax.random.permutation(key, rows - 1)[:in_batch]
    others = target[(jnp.arange(rows)[:, None] + away) % rows]
    drawn = jnp.concatenate([batch["negatives"][:, :negatives], others], axis=1)
    items = jnp.concatenate([target[:, None], drawn], axis=1)
    taken = jnp.concatenate([batch["rec_item"], batch["search_click"].reshape(rows, -1)], axis=1)
    in_history = (drawn[:, :, None] == taken[:, None, :]).any(axis=2)
    before = jnp.tri(items.shape[1], k=-1, dtype=bool)
    repeated = ((items[:, :, None] == items[:, None, :]) & before).any(axis=2)[:, 1:]
    allowed = ~(in_history | repeated) & (drawn != 0)
    return Candidates(items, jnp.concatenate([jnp.ones((rows, 1), bool), allowed], axis=1))


def rank_positive(scores: jax.Array, allowed: jax.Array) -> jax.Array:
    """Rank float32 [...] of column 0 among scores [..., C]: 1 + #greater + half of #equal."""
    positive, others = scores[..., :1], scores[..., 1:]
    ahead = (others > positive) + 0.5 * (others == positive)
    return 1.0 + (ahead * allowed[..., 1:]).sum(axis=-1, dtype=jnp.float32)


def dense_ndcg(scores: jax.Array, allowed: jax.Array) -> jax.Array:
    """1 / log2(1 + rank), without a cut-off: every gain in rank pays."""
    return 1.0 / jnp.log2(1.0 + rank_positive(scores, allowed))


def ndcg_at_10(scores: jax.Array, allowed: jax.Array) -> jax.Array:
    """1 / log2(1 + rank) for ranks up to 10, else 0."""
    rank = rank_positive(scores, allowed)
    return jnp.where(rank <= 10.0, 1.0 / jnp.log2(1.0 + rank), 0.0)


def reciprocal_rank(scores: jax.Array, allowed: jax.Array) -> jax.Array:
    """1 / rank."""
    return 1.0 / rank_positive(scores, allowed)


def log_shares(scores: jax.Array, allowed: jax.Array) -> jax.Array:
    """Log-probabilities float32 [..., C] of the allowed candidates."""
    logits = jnp.where(allowed, scores.astype(jnp.float32), NEGATIVE)
    return jax.nn.log_softmax(logits, axis=-1)


def log_softmax(scores: jax.Array, allowed: jax.Array) -> jax.Array:
    """Log-probability of the positive among the allowed candidates: float32 [...] <= 0."""
    return log_shares(scores, allowed)[..., 0]


# reward(scores float32 [..., C], allowed bool [..., C]) -> float32 [...]
REWARDS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "dense_ndcg": dense_ndcg,
    "ndcg_at_10": ndcg_at_10,
    "reciprocal_rank": reciprocal_rank,
    "log_softmax": log_softmax,
}


def compare_rewards(rewards: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Advantages float32 [G, B] of rewards [G, B] within each user's group, and which groups count.

    (R - mean) / (standard deviation + 1e-4). A group whose rewards are all equal tells nothing:
    its advantages are 0 and its entry of the second result, bool [B], is False.
    Source: GRPO (DeepSeekMath), constants of LARES.
    """
    mean, deviation = rewards.mean(axis=0), rewards.std(axis=0)
    # By equality: the standard deviation of equal numbers may be a rounding error, not 0.
    differs = rewards.max(axis=0) > rewards.min(axis=0)
    advantage = jnp.where(differs, (rewards - mean) / (deviation + SPREAD_FLOOR), 0.0)
    return advantage, differs
