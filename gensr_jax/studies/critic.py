"""The InfoNCE bound of mutual information: a critic learns which vector belongs to which.

Of B pairs, the critic has to find each one's partner; with cross-entropy L in nats,
I >= ln B - L, and no more than ln B can be shown.

Shapes: [n] pairs  [a], [b] widths of the two vectors  [B] pairs at a time
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

Critic = dict[str, Any]


@dataclass(frozen=True)
class CriticSettings:
    """Two MLPs of two layers; the score of a pair is the product of their outputs.

    One MLP of both vectors joined would need B^2 passes instead of 2 B.
    """

    width: int = 256
    outputs: int = 64
    pairs: int = 1024  # B
    steps: int = 400
    learning_rate: float = 1e-3
    look_every: int = 25  # steps between looks at the pairs held back


def infonce_terms(
    fit: tuple[np.ndarray, np.ndarray],
    held: np.ndarray,
    report: tuple[np.ndarray, np.ndarray],
    seed: int,
    settings: CriticSettings,
) -> tuple[np.ndarray, float]:
    """Terms float64 [n] of the bound on the pairs of `report`, and its cap ln B.

    fit: pairs [m, a] and [m, b] to train on; held: bool [m], those kept back to choose the
        step at which the critic is best
    report: pairs [n, a] and [n, b] of other users
    Both directions count, the half each. B is smaller where there are fewer pairs.
    Source: van den Oord et al., arXiv 1807.03748; Poole et al., ICML 2019.
    """
    means = [part[~held].mean(axis=0) for part in fit]
    spreads = [np.maximum(part[~held].std(axis=0), 1e-6) for part in fit]

    def scale(pairs: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
        return [
            ((part - mean) / spread).astype(np.float32)
            for part, mean, spread in zip(pairs, means, spreads, strict=True)
        ]

    ours = [part[~held] for part in scale(fit)]
    back, told = [part[held] for part in scale(fit)], scale(report)
    size = min(settings.pairs, len(ours[0]), len(told[0]))
    critic = _train(ours, back, size, seed, settings)
    return _bound(critic, told, size, seed), float(np.log(size))


def _train(
    ours: list[np.ndarray], back: list[np.ndarray], size: int, seed: int, settings: CriticSettings
) -> Critic:
    """The critic of the step that is best on the pairs held back."""
    keys = jax.random.split(jax.random.key(seed), settings.steps // settings.look_every + 1)
    critic = _init(keys[0], ours[0].shape[1], ours[1].shape[1], settings)
    state = _optimizer(settings).init(critic)
    best, chosen = -np.inf, critic
    on_device = [jnp.asarray(part) for part in ours]
    for key in keys[1:]:
        critic, state = _run_steps(critic, state, on_device, key, size, settings)
        found = _bound(critic, back, min(size, len(back[0])), seed).mean()
        if found > best:
            best, chosen = found, critic
    return chosen


@partial(jax.jit, static_argnums=(4, 5))
def _run_steps(
    critic: Critic,
    state: Any,
    pairs: list[jax.Array],
    key: jax.Array,
    size: int,
    settings: CriticSettings,
) -> tuple[Critic, Any]:
    optimizer = _optimizer(settings)

    def step(carry: tuple[Critic, Any], key: jax.Array) -> tuple[tuple[Critic, Any], None]:
        critic, state = carry
        drawn = jax.random.choice(key, len(pairs[0]), (size,), replace=False)
        first, second = (part[drawn] for part in pairs)
        grads = jax.grad(lambda critic: -_terms(critic, first, second).mean())(critic)
        updates, state = optimizer.update(grads, state, critic)
        return (optax.apply_updates(critic, updates), state), None

    return jax.lax.scan(step, (critic, state), jax.random.split(key, settings.look_every))[0]


def _bound(critic: Critic, pairs: list[np.ndarray], size: int, seed: int) -> np.ndarray:
    """float64 [n]: every pair once, among `size` drawn at random; the last lot is filled up."""
    order = np.random.default_rng(seed).permutation(len(pairs[0]))
    terms = np.empty(len(order))
    for start in range(0, len(order), size):
        lot = order[start : start + size]
        filled = np.concatenate([lot, order[: size - len(lot)]])
        found = _lot_terms(critic, *(jnp.asarray(part[filled]) for part in pairs))
        terms[lot] = np.asarray(found)[: len(lot)]
    return terms


def _terms(critic: Critic, first: jax.Array, second: jax.Array) -> jax.Array:
    """ln B - L of each pair, float32 [B]."""
    scores = _mlp(critic["first"], first) @ _mlp(critic["second"], second).T
    found = [jnp.diag(jax.nn.log_softmax(scores, axis=axis)) for axis in (0, 1)]
    return jnp.log(float(len(first))) + sum(found) / 2


_lot_terms = jax.jit(_terms)


def _init(key: jax.Array, first: int, second: int, settings: CriticSettings) -> Critic:
    width = settings.width

    def layers(key: jax.Array, inputs: int) -> dict[str, jax.Array]:
        inner, outer = jax.random.split(key)
        return {
            "inner": jax.random.normal(inner, (inputs, width)) * (2 / inputs) ** 0.5,
            "shift": jnp.zeros(width),
            # Scores of all pairs begin near 0, where the bound is 0.
            "outer": jax.random.normal(outer, (width, settings.outputs)) * 0.1 * width**-0.5,
        }

    keys = jax.random.split(key)
    return {"first": layers(keys[0], first), "second": layers(keys[1], second)}


def _mlp(layers: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    return jax.nn.relu(x @ layers["inner"] + layers["shift"]) @ layers["outer"]


def _optimizer(settings: CriticSettings) -> optax.GradientTransformation:
    return optax.adam(settings.learning_rate)
