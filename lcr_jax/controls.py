"""What reinforcement must beat: second stages with the same start, data, updates and anchor.

likelihood   B  group-relative policy optimisation on the target's likelihood, as LARES
ranking      C  a differentiable ranking loss on the candidates that rollouts are paid by
noise        D  rollouts without reward: noisy scores shall agree with those of plain inference

Control A, `more`, is the anchor alone: the stage-1 loss goes on. Reinforcement counts as useful
only if it beats A and C. Shapes: [B] batch  [C] candidates  [G] rollouts  [K] reasoning steps
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lcr_jax.readout import keep_steps
from lcr_jax.reasoner import Reasoning
from lcr_jax.rewards import log_shares, log_softmax
from lcr_jax.shared import Figures, Shared


def likelihood(shared: Shared) -> tuple[jax.Array, Figures]:
    """Control B: - mean over rollouts and steps of [exp(p - sg p) A - beta k3(p_ref, p)].

    p: log-probability of the target among the candidates, read from each step's state; A from the
    reward of the last step. The reference is walked with the same noise.
    Source: LARES, whose rewards and likelihoods are over the whole catalogue, whose noise is in the
    first state and whose beta is 1.
    """
    second, allowed = shared.second, shared.candidates.allowed
    scores = _score_steps(shared, shared.roll_out(through_samples=True).reasoning)
    advantage, differs, paid = shared.pay(scores[-1])
    theirs = shared.reference()
    reference = jax.lax.stop_gradient(_score_steps(theirs, theirs.roll_out().reasoning))
    chance, before = (log_softmax(s / second.temperature, allowed) for s in (scores, reference))
    gain = jnp.exp(chance - jax.lax.stop_gradient(chance)) * advantage
    behind = before - chance
    kl = shared.average(jnp.exp(behind) - behind - 1.0)
    policy = -shared.average(gain, differs)
    return policy + second.kl_weight * kl, paid | {"policy": policy, "kl": kl}


def _score_steps(shared: Shared, walked: Reasoning) -> jax.Array:
    """Scores [K, G, B, C] by the state of each step of the rollouts."""
    mask = shared.encoded.memory.search_mask

    def score(step: int) -> jax.Array:
        kept = jax.vmap(lambda own: keep_steps(own, step, mask))(walked)
        return shared.score_rollouts(kept)

    return jnp.stack([score(step) for step in range(1, shared.model.settings.steps + 1)])


def ranking(shared: Shared) -> tuple[jax.Array, Figures]:
    """Control C: a differentiable loss of plain inference's scores on the candidates.

    `approx_ndcg`: - 1 / log2(1 + smooth rank); `softmax`: cross-entropy over the candidates.
    """
    scores = shared.score(shared.encoded.reasoning)
    form = approx_ndcg if shared.second.ranking_loss == "approx_ndcg" else group_softmax
    term = shared.average(form(scores, shared.candidates.allowed, shared.second.temperature))
    return term, {"ranking": term, "greedy_reward": shared.average(shared.reward(scores))}


def approx_ndcg(scores: jax.Array, allowed: jax.Array, temperature: float) -> jax.Array:
    """- 1 / log2(1 + r) float32 [B], r = 1 + sum of sigmoid((other - positive) / temperature).

    scores float32 [B, C], positive in column 0; allowed bool [B, C].
    Source: ApproxNDCG (Qin, Liu and Li 2010), for one relevant item.
    """
    ahead = jax.nn.sigmoid((scores[:, 1:] - scores[:, :1]) / temperature)
    return -1.0 / jnp.log2(2.0 + (ahead * allowed[:, 1:]).sum(axis=1))


def group_softmax(scores: jax.Array, allowed: jax.Array, temperature: float) -> jax.Array:
    """Cross-entropy float32 [B] of the positive, column 0, among the allowed candidates."""
    return -log_softmax(scores / temperature, allowed)


def noise(shared: Shared) -> tuple[jax.Array, Figures]:
    """Control D: KL from plain inference's distribution over candidates to the noisy ones'.

    Gradients pass the noisy states, not the distribution they are compared with.
    """
    allowed = shared.candidates.allowed
    scores = shared.score_rollouts(shared.roll_out(through_samples=True).reasoning)
    shares = log_shares(scores / shared.second.temperature, allowed)
    greedy = jax.lax.stop_gradient(shares[0])
    apart = (jnp.exp(greedy) * (greedy - shares[1:]) * allowed).sum(axis=-1)
    term, rewards = shared.average(apart), shared.reward(scores)
    return term, {
        "disagreement": term,
        "reward": shared.average(rewards),
        "greedy_reward": shared.average(rewards[0]),
    }
