"""The Gaussian policy over reasoning states: rollouts, log-probabilities, ratio and divergence.

pi(r_1 .. r_K | user) = prod_k N(r_k ; mu_k(r_0 .. r_{k-1}), sigma_k^2 I), where mu_k is what the
reasoner's step k gives. Shapes: [B] batch  [G] rollouts  [K] reasoning steps  [D] width
Reinforcement on top of latent reasoning: abstract of arXiv 2508.04152; the policy is ours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lcr_jax.model import LCR, Encoded
from lcr_jax.reasoner import Reasoning

SIGMA_FLOOR = 1e-6  # a mean of zeros must not make sigma zero


class Rollout(NamedTuple):
    """One walk through the K steps, or G of them where the arrays have that axis in front."""

    reasoning: Reasoning  # states [B, K + 1, D]: r_0, then the states that were sampled
    means: jax.Array  # [B, K, D]: mu_k, given the states before it; differentiable
    sigma: jax.Array  # [B, K]: kept, for every later log-probability of these states


def roll_out(
    model: LCR,
    params: Any,
    encoded: Encoded,
    noise: jax.Array,
    scale: float,
    through_samples: bool = False,
) -> Rollout:
    """Walks G times through the steps, from one encoding per user.

    noise: standard normal [G, K, B, D], of `draw_noise`
    scale: c in sigma_k = c * RMS(mu_k), per row and step, without gradient: latent norms drift,
        and the noise has to follow them
    through_samples: True lets gradients pass the sampled states; a policy gradient must not
    Only steps are repeated, and the first not even that: its mean is the same for all rollouts.
    """

    def walk_once(own: jax.Array) -> Rollout:
        def sample(k: int, mean: jax.Array) -> jax.Array:
            state = mean + measure_sigma(mean, scale)[:, None] * own[k - 1]
            return state if through_samples else jax.lax.stop_gradient(state)

        reasoning, means = walk(model, params, encoded, sample)
        return Rollout(reasoning, means, measure_sigma(means, scale))

    return jax.vmap(walk_once)(noise)


def follow(model: LCR, params: Any, encoded: Encoded, states: jax.Array) -> jax.Array:
    """The means mu_k [G, B, K, D] that parameters have along given states [G, B, K + 1, D].

    encoded: by the same parameters; its r_0 takes the place of states[:, :, 0]
    """

    def follow_once(own: jax.Array) -> jax.Array:
        return walk(model, params, encoded, lambda k, mean: own[:, k])[1]

    return jax.vmap(follow_once)(states)


def walk(
    model: LCR, params: Any, encoded: Encoded, choose: Callable[[int, jax.Array], jax.Array]
) -> tuple[Reasoning, jax.Array]:
    """The K steps, where choose(k, mu_k [B, D]) says which state [B, D] the walk goes on from.

    Returns the reasoning and the means mu_k [B, K, D]. No dropout.
    """

    def run(module: LCR) -> tuple[Reasoning, jax.Array]:
        return module.reasoner.walk(encoded.reasoning.states[:, 0], encoded.memory, choose, True)

    return model.apply({"params": params}, method=run)


def draw_noise(key: jax.Array, rollouts: int, steps: int, rows: int, width: int) -> jax.Array:
    """Standard normal [G, K, B, D]; the first rollout's is zero, so that it is plain inference."""

    def draw(own: jax.Array) -> jax.Array:
        return jax.random.normal(own, (steps, rows, width))

    noise = jax.vmap(draw)(jax.random.split(key, rollouts))
    return noise.at[0].set(0.0)


def measure_sigma(mean: jax.Array, scale: float) -> jax.Array:
    """sigma [...] = scale * RMS of mean [..., D]; no gradient passes."""
    square = jnp.square(jax.lax.stop_gradient(mean)).mean(axis=-1)
    return jnp.maximum(scale * jnp.sqrt(square), SIGMA_FLOOR)


def log_probability(states: jax.Array, means: jax.Array, sigma: jax.Array) -> jax.Array:
    """log pi of states [..., K, D] up to a constant, per number: float32 [...].

    The sum over K steps and D numbers is divided by K * D, so that exp of a difference is the
    length-normalised ratio (GSPO): the plain product over some 200 numbers explodes.
    """
    square = jnp.square(jax.lax.stop_gradient(states) - means).mean(axis=-1)
    return -0.5 * (square / jnp.square(sigma)).mean(axis=-1)


def measure_divergence(means: jax.Array, others: jax.Array, sigma: jax.Array) -> jax.Array:
    """KL between Gaussians of equal sigma [..., K] around means and others [..., K, D], per number.

    Returns float32 [...]: sum over steps of |mu - mu'|^2 / (2 sigma^2), over K * D.
    """
    square = jnp.square(means - others).mean(axis=-1)
    return 0.5 * (square / jnp.square(sigma)).mean(axis=-1)


def clip_ratio(
    ratio: jax.Array, advantage: jax.Array, low: float, high: float
) -> tuple[jax.Array, jax.Array]:
    """min(rho A, clip(rho, low, high) A), and where the clipping decided (bool, same shape).

    Source: PPO; separate bounds as in DAPO.
    """
    plain, clipped = ratio * advantage, jnp.clip(ratio, low, high) * advantage
    return jnp.minimum(plain, clipped), clipped < plain
