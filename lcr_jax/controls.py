"""What reinforcement must beat: four second stages with the same start, data and updates.

more         A  the stage-1 loss L_1, goes on
likelihood   B  group-relative policy optimisation on the target's likelihood, as LARES
ranking      C  a differentiable ranking loss on the candidates that rollouts are paid by
noise        D  rollouts without reward: noisy scores shall agree with those of plain inference

B, C and D have the same anchor eta * L_1 as reinforcement. Reinforcement counts as useful only if
it beats A and C. Shapes: [B] batch  [C] candidates  [G] rollouts  [K] reasoning steps
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from common.nn.attention import NEGATIVE
from lcr_jax.anchor import Arrays, Shared, prepare, score_rollouts, share_reference
from lcr_jax.losses import masked_average
from lcr_jax.model import LCR
from lcr_jax.policy import draw_noise, roll_out
from lcr_jax.readout import keep_steps
from lcr_jax.reasoner import Reasoning
from lcr_jax.rewards import REWARDS, compare_rewards
from lcr_jax.settings import LossSettings, Second

Result = tuple[jax.Array, dict[str, jax.Array]]


def more_loss(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> Result:
    """Control A: eta * L_1 and nothing else."""
    shared = prepare(model, loss, second, params, constants, batch, key)
    return shared.anchor, shared.metrics


def likelihood_loss(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> Result:
    """Control B: - mean over rollouts and steps of [exp(p - sg p) A - beta k3(p_ref, p)] + eta L_1.

    p: log-probability of the target among the candidates, read from each step's state; A from the
    reward of the last step. constants["start"] is the reference, walked with the same noise.
    Source: LARES, whose rewards and likelihoods are over the whole catalogue, whose noise is in the
    first state and whose beta is 1.
    """
    shared, noise, reasoning = _roll_out(model, loss, second, params, constants, batch, key)
    allowed, valid = shared.candidates.allowed, batch["valid"]

    def read_steps(own: Any, encoded: Shared, walked: Reasoning) -> jax.Array:
        """Scores [K, G, B, C] by the state of each step."""
        steps = range(1, model.settings.steps + 1)
        read = [_keep(walked, step, encoded) for step in steps]
        return jnp.stack([score_rollouts(model, own, encoded, kept) for kept in read])

    scores = read_steps(params, shared, reasoning)
    rewards = jax.lax.stop_gradient(REWARDS[second.reward](scores[-1], allowed))
    advantage, differs = compare_rewards(rewards)
    start = constants["start"]
    theirs = share_reference(model, second, shared, constants, batch)
    walked = roll_out(model, start, theirs.encoded, noise, second.noise).reasoning
    reference = jax.lax.stop_gradient(read_steps(start, theirs, walked))
    chance, reference = (
        _log_shares(each, allowed, second.temperature)[..., 0] for each in (scores, reference)
    )
    gain = jnp.exp(chance - jax.lax.stop_gradient(chance)) * advantage
    behind = reference - chance
    kl = masked_average((jnp.exp(behind) - behind - 1.0).mean(axis=(0, 1)), valid)
    policy = -masked_average(gain.mean(axis=(0, 1)), valid * differs)
    metrics = {
        **shared.metrics,
        "policy": policy,
        "reward": masked_average(rewards.mean(axis=0), valid),
        "greedy_reward": masked_average(rewards[0], valid),
        "reward_std": masked_average(rewards.std(axis=0), valid),
        "masked_share": masked_average(~differs, valid),
        "kl": kl,
    }
    return policy + second.kl_weight * kl + shared.anchor, metrics


def ranking_loss(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> Result:
    """Control C: a differentiable loss of plain inference's scores on the candidates, + eta L_1.

    `approx_ndcg`: - 1 / log2(1 + smooth rank); `softmax`: cross-entropy over the candidates.
    """
    shared = prepare(model, loss, second, params, constants, batch, key)
    scores = model.apply({"params": params}, shared.encoded, shared.vectors, method=LCR.score)
    form = approx_ndcg if second.ranking_loss == "approx_ndcg" else group_softmax
    allowed, valid = shared.candidates.allowed, batch["valid"]
    term = masked_average(form(scores, allowed, second.temperature), valid)
    reward = masked_average(REWARDS[second.reward](scores, allowed), valid)
    metrics = {**shared.metrics, "ranking": term, "greedy_reward": reward}
    return term + shared.anchor, metrics


def noise_loss(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> Result:
    """Control D: KL from plain inference's distribution over candidates to the noisy ones', + eta
    L_1. Gradients pass the noisy states, not the distribution they are compared with."""
    shared, _, reasoning = _roll_out(model, loss, second, params, constants, batch, key)
    scores = score_rollouts(model, params, shared, reasoning)
    allowed, valid = shared.candidates.allowed, batch["valid"]
    shares = _log_shares(scores, allowed, second.temperature)
    greedy = jax.lax.stop_gradient(shares[0])
    apart = (jnp.exp(greedy) * (greedy - shares[1:]) * allowed).sum(axis=-1)
    term = masked_average(apart.mean(axis=0), valid)
    rewards = REWARDS[second.reward](scores, allowed)
    metrics = {
        **shared.metrics,
        "disagreement": term,
        "reward": masked_average(rewards.mean(axis=0), valid),
        "greedy_reward": masked_average(rewards[0], valid),
    }
    return term + shared.anchor, metrics


def approx_ndcg(scores: jax.Array, allowed: jax.Array, temperature: float) -> jax.Array:
    """- 1 / log2(1 + r) float32 [B], r = 1 + sum of sigmoid((other - positive) / temperature).

    scores float32 [B, C], positive in column 0; allowed bool [B, C].
    Source: ApproxNDCG (Qin, Liu and Li 2010), for one relevant item.
    """
    ahead = jax.nn.sigmoid((scores[:, 1:] - scores[:, :1]) / temperature)
    return -1.0 / jnp.log2(2.0 + (ahead * allowed[:, 1:]).sum(axis=1))


def group_softmax(scores: jax.Array, allowed: jax.Array, temperature: float) -> jax.Array:
    """Cross-entropy float32 [B] of the positive, column 0, among the allowed candidates."""
    return -_log_shares(scores, allowed, temperature)[:, 0]


def _roll_out(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> tuple[Shared, jax.Array, Reasoning]:
    """What is shared, the noise [G, K, B, D], and rollouts that gradients pass through."""
    shared_key, noise_key = jax.random.split(key)
    shared = prepare(model, loss, second, params, constants, batch, shared_key)
    settings, rows = model.settings, batch["valid"].shape[0]
    noise = draw_noise(noise_key, second.rollouts, settings.steps, rows, settings.width)
    rollouts = roll_out(model, params, shared.encoded, noise, second.noise, through_samples=True)
    return shared, noise, rollouts.reasoning


def _keep(reasoning: Reasoning, step: int, shared: Shared) -> Reasoning:
    mask = shared.encoded.memory.search_mask
    return jax.vmap(lambda own: keep_steps(own, step, mask))(reasoning)


def _log_shares(scores: jax.Array, allowed: jax.Array, temperature: float) -> jax.Array:
    logits = jnp.where(allowed, scores / temperature, NEGATIVE)
    return jax.nn.log_softmax(logits, axis=-1)
