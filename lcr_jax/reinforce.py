"""Stage 2 of LCR, `reinforce`: a policy gradient over the reasoning states, paid by rank.

Shapes: [B] batch  [C] candidates  [G] rollouts  [K] reasoning steps  [D] width
Reinforcement that optimises ranking: abstract of arXiv 2508.04152. Group-relative advantages are
GRPO's, the ratio per number is GSPO's; their use here and every detail are our reconstruction.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lcr_jax.anchor import Arrays, prepare, score_rollouts, share_reference
from lcr_jax.losses import masked_average
from lcr_jax.model import LCR
from lcr_jax.policy import (
    clip_ratio,
    draw_noise,
    follow,
    log_probability,
    measure_divergence,
    roll_out,
)
from lcr_jax.rewards import REWARDS, compare_rewards
from lcr_jax.settings import LossSettings, Second


def reinforce_loss(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """L_RL = - mean_g min(rho A, clip(rho) A) + beta KL + eta L_1.

    constants["start"]: the frozen reference, parameters that the stage began with
    Deterministic in (params, constants, batch, key). The rollouts are drawn by the parameters they
    improve, one update per draw, so rho is 1 in value and only its gradient counts. Samples and
    rewards are constants for the gradient. With `train` = "all" the scorer learns from L_1 alone.

    reward, greedy_reward   mean over rollouts; of the first one, which has no noise
    reward_std              within groups, mean over users: the advantage's spread
    masked_share            users whose rollouts were all paid the same: no policy term
    ratio_min, ratio_max, clip_share   of rho
    kl                      to the reference, per number of the states
    norm_drift              mean norm of mu over the reference's
    evidence_entropy        of the mean evidence of plain inference, nats
    candidates              allowed per user, with the positive
    policy, supervised, ... the terms of the loss, unweighted
    """
    shared_key, noise_key = jax.random.split(key)
    shared = prepare(model, loss, second, params, constants, batch, shared_key)
    settings, valid = model.settings, batch["valid"]
    noise = draw_noise(noise_key, second.rollouts, settings.steps, valid.shape[0], settings.width)
    rollouts = roll_out(model, params, shared.encoded, noise, second.noise)
    states = rollouts.reasoning.states

    scores = jax.lax.stop_gradient(score_rollouts(model, params, shared, rollouts.reasoning))
    rewards = REWARDS[second.reward](scores, shared.candidates.allowed)
    advantage, differs = compare_rewards(rewards)

    now = log_probability(states[:, :, 1:], rollouts.means, rollouts.sigma)
    kept = jax.lax.stop_gradient(now)  # of the parameters that sampled: those of this very step
    ratio = jnp.exp(now - kept)
    gain, clipped = clip_ratio(ratio, advantage, second.clip_low, second.clip_high)
    policy = -masked_average(gain.mean(axis=0), valid * differs)

    reference = share_reference(model, second, shared, constants, batch).encoded
    theirs = jax.lax.stop_gradient(follow(model, constants["start"], reference, states))
    divergence = measure_divergence(rollouts.means, theirs, rollouts.sigma)
    kl = masked_average(divergence.mean(axis=0), valid)

    def average(values: jax.Array) -> jax.Array:
        """Over rollouts and real rows, of values [G, B]."""
        return masked_average(values.mean(axis=0), valid)

    evidence = shared.encoded.reasoning.mean_evidence
    entropy = -(evidence * jnp.log(jnp.maximum(evidence, 1e-9))).sum(axis=1)
    metrics = {
        **shared.metrics,
        "policy": policy,
        "reward": average(rewards),
        "greedy_reward": average(rewards[:1]),
        "reward_std": masked_average(rewards.std(axis=0), valid),
        "masked_share": masked_average(~differs, valid),
        "ratio_min": ratio.min(),
        "ratio_max": ratio.max(),
        "clip_share": average(clipped),
        "kl": kl,
        "norm_drift": average(_norm(rollouts.means)) / average(_norm(theirs)),
        "evidence_entropy": masked_average(entropy, valid),
    }
    return policy + second.kl_weight * kl + shared.anchor, metrics


def _norm(means: jax.Array) -> jax.Array:
    """Norm [G, B] of means [G, B, K, D], mean over steps."""
    return jnp.linalg.norm(means, axis=-1).mean(axis=-1)
