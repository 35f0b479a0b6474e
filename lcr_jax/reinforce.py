"""Stage 2 of LCR, `reinforce`: a policy gradient over the reasoning states, paid by rank.

Shapes: [B] batch  [G] rollouts  [K] reasoning steps  [D] width
Reinforcement that optimises ranking: abstract of arXiv 2508.04152. Group-relative advantages are
GRPO's, the ratio per number is GSPO's; their use here and every detail are our reconstruction.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lcr_jax.policy import clip_ratio, log_probability, measure_divergence
from lcr_jax.shared import Figures, Shared


def reinforce(shared: Shared) -> tuple[jax.Array, Figures]:
    """- mean_g min(rho A, clip(rho) A) + beta KL to the frozen parameters the stage began with.

    The rollouts are drawn by the parameters they improve, one update per draw, so rho is 1 in value
    and only its gradient counts. Samples and rewards are constants for the gradient. With `train` =
    "all" the scorer learns from the anchor alone. Beside those of `Shared.pay` the figures are

    ratio_min, ratio_max, clip_share   of rho
    kl                      to the reference, per number of the states
    norm_drift              mean norm of mu over the reference's
    evidence_entropy        of the mean evidence of plain inference, nats
    policy                  the first term
    """
    second, rollouts = shared.second, shared.roll_out()
    states = rollouts.reasoning.states
    advantage, differs, paid = shared.pay(shared.score_rollouts(rollouts.reasoning))

    now = log_probability(states[:, :, 1:], rollouts.means, rollouts.sigma)
    kept = jax.lax.stop_gradient(now)  # of the parameters that sampled: those of this very step
    ratio = jnp.exp(now - kept)
    gain, clipped = clip_ratio(ratio, advantage, second.clip_low, second.clip_high)
    policy = -shared.average(gain, differs)

    theirs = jax.lax.stop_gradient(shared.reference().follow(states))
    kl = shared.average(measure_divergence(rollouts.means, theirs, rollouts.sigma))

    evidence = shared.encoded.reasoning.mean_evidence
    entropy = -(evidence * jnp.log(jnp.maximum(evidence, 1e-9))).sum(axis=1)
    figures = paid | {
        "policy": policy,
        "ratio_min": ratio.min(),
        "ratio_max": ratio.max(),
        "clip_share": shared.average(clipped),
        "kl": kl,
        "norm_drift": shared.average(_norm(rollouts.means)) / shared.average(_norm(theirs)),
        "evidence_entropy": shared.average(entropy),
    }
    return policy + second.kl_weight * kl, figures


def _norm(means: jax.Array) -> jax.Array:
    """Norm [G, B] of means [G, B, K, D], mean over steps."""
    return jnp.linalg.norm(means, axis=-1).mean(axis=-1)
