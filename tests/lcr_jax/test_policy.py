"""The Gaussian policy: its gradient is the analytic one, its first rollout is inference."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from lcr_jax.policy import (
    clip_ratio,
    draw_noise,
    follow,
    log_probability,
    measure_divergence,
    measure_sigma,
    roll_out,
)
from lcr_jax.rewards import REWARDS, compare_rewards


def policy_term(mean, samples, sigma, advantage):
    """The policy term of one user with K = D = 1, as the stage puts it together."""
    means = jnp.broadcast_to(mean, samples.shape)[:, None, None]
    now = log_probability(samples[:, None, None], means, jnp.full((len(samples), 1), sigma))
    ratio = jnp.exp(now - jax.lax.stop_gradient(now))
    return -clip_ratio(ratio, advantage, 0.8, 1.28)[0].mean()


def test_gradient_of_a_toy_policy_is_the_analytic_one():
    """- mean of A_g (r_g - mu) / sigma^2."""
    samples, rewards = jnp.array([0.3, -0.9, 1.7, 0.4]), jnp.array([0.2, 0.9, 0.5, 0.1])
    mean, sigma = 0.4, 0.8
    advantage, _ = compare_rewards(rewards[:, None])
    got = jax.grad(policy_term)(mean, samples, sigma, advantage[:, 0])
    centred = (np.asarray(rewards) - 0.425) / (np.std(rewards) + 1e-4)
    expected = -np.mean(centred * (np.asarray(samples) - mean) / sigma**2)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_gradient_of_many_draws_is_that_of_the_expected_reward():
    """R(r) = exp(-(r - b)^2 / 2): E R = exp(-(mu - b)^2 / (2 (1 + s^2))) / sqrt(1 + s^2)."""
    mean, sigma, best = 0.5, 0.7, 1.5
    samples = mean + sigma * jax.random.normal(jax.random.key(0), (100_000,))
    rewards = jnp.exp(-0.5 * (samples - best) ** 2)
    got = -jax.grad(policy_term)(mean, samples, sigma, rewards)

    def expected_reward(mean):
        width = 1 + sigma**2
        return jnp.exp(-((mean - best) ** 2) / (2 * width)) / jnp.sqrt(width)

    per_draw = np.asarray(rewards * (samples - mean) / sigma**2)
    error = per_draw.std() / np.sqrt(len(per_draw))
    analytic = jax.grad(expected_reward)(mean)
    assert abs(got - analytic) < 4 * error
    assert error < 0.02 * abs(analytic)


def test_log_probability_and_divergence_per_number_by_hand():
    states, means = jnp.array([[1.0, 2.0], [0.0, 1.0]]), jnp.array([[0.0, 2.0], [2.0, 0.0]])
    sigma = jnp.array([0.5, 2.0])
    expected = -(1.0 / (2 * 0.25) + 5.0 / (2 * 4.0)) / 4  # K * D = 4 numbers
    np.testing.assert_allclose(log_probability(states, means, sigma), expected, rtol=1e-6)
    np.testing.assert_allclose(measure_divergence(states, means, sigma), -expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("ratio", "advantage", "gain", "decided"),
    [
        (1.5, 2.0, 2.56, True),  # no more than 1.28 for what went up
        (0.5, 2.0, 1.0, False),
        (0.5, -1.0, -0.8, True),  # no more than 0.8 for what went down
        (1.5, -1.0, -1.5, False),
        (1.0, 3.0, 3.0, False),
    ],
)
def test_clipping_takes_the_gradient_away_where_it_decides(ratio, advantage, gain, decided):
    def value(ratio):
        return clip_ratio(ratio, jnp.float32(advantage), 0.8, 1.28)

    got, slope = jax.value_and_grad(lambda ratio: value(ratio)[0])(jnp.float32(ratio))
    np.testing.assert_allclose(got, gain, rtol=1e-6)
    assert slope == (0.0 if decided else advantage)
    assert value(jnp.float32(ratio))[1] == decided


def test_sigma_follows_the_size_of_the_mean_without_gradient():
    mean = jnp.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(measure_sigma(mean, 0.1), [0.1 * np.sqrt(12.5), 1e-6], rtol=1e-6)
    gradient = jax.grad(lambda mean: measure_sigma(mean, 0.1).sum())(mean)
    np.testing.assert_array_equal(gradient, 0)


@pytest.fixture(scope="module")
def walked():
    """A function of (model, batch, key) -> (encoded, rollouts), compiled once."""

    def run(module, params, constants, batch, key):
        def method(m):
            return m.encode(batch, m.lookup(batch, constants), True)

        encoded = module.apply({"params": params}, method=method)
        s = module.settings
        noise = draw_noise(key, 4, s.steps, batch["target"].shape[0], s.width)
        return encoded, roll_out(module, params, encoded, noise, 0.1)

    compiled = jax.jit(run, static_argnums=0)
    return lambda model, batch, key: compiled(
        model.module, model.params, model.constants, batch, key
    )


def test_rollouts_are_a_function_of_the_key(walked, build_model, build_batch):
    model, batch = build_model(), build_batch([3, 0, 5], [2, 4, 0])
    _, first = walked(model, batch, jax.random.key(1))
    _, again = walked(model, batch, jax.random.key(1))
    _, other = walked(model, batch, jax.random.key(2))
    states = first.reasoning.states
    assert states.shape == (4, 3, 3, 8)
    np.testing.assert_array_equal(states, again.reasoning.states)
    assert np.abs(states[1:, :, 1:] - other.reasoning.states[1:, :, 1:]).max() > 1e-3
    for left in range(4):  # different rollouts, different noise, in each row and step
        for right in range(left):
            apart = np.abs(states[left, :, 1:] - states[right, :, 1:]).max(axis=-1)
            assert apart.min() > 1e-4


def test_the_first_rollout_is_plain_inference(walked, build_model, build_batch):
    model, batch = build_model(), build_batch([3, 0, 5], [2, 4, 0])
    encoded, rollouts = walked(model, batch, jax.random.key(1))
    greedy = jax.tree.map(lambda leaf: leaf[0], rollouts.reasoning)
    for name in ("states", "evidence", "gates", "mean_evidence"):
        np.testing.assert_allclose(
            getattr(greedy, name), getattr(encoded.reasoning, name), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_array_equal(greedy.states[:, 1:], rollouts.means[0])
    np.testing.assert_array_equal(
        rollouts.reasoning.states[:, :, 0], rollouts.reasoning.states[:1, :, 0].repeat(4, 0)
    )


def test_noise_has_the_sigma_that_is_kept(walked, build_model, build_batch):
    model, batch = build_model(), build_batch([3, 0, 5], [2, 4, 0])
    _, rollouts = walked(model, batch, jax.random.key(3))
    noise = draw_noise(jax.random.key(3), 4, 2, 3, 8).swapaxes(1, 2)
    moved = rollouts.reasoning.states[:, :, 1:] - rollouts.means
    np.testing.assert_allclose(moved, rollouts.sigma[..., None] * noise, rtol=1e-3, atol=1e-5)
    root = np.sqrt(np.mean(np.square(rollouts.means), axis=-1))
    np.testing.assert_allclose(rollouts.sigma, 0.1 * root, rtol=1e-5)


def test_following_the_samples_gives_the_means_they_were_drawn_around(
    walked, build_model, build_batch
):
    model, batch = build_model(), build_batch([3, 0, 5], [2, 4, 0])
    encoded, rollouts = walked(model, batch, jax.random.key(1))
    run = jax.jit(partial(follow, model.module))
    means = run(model.params, encoded, rollouts.reasoning.states)
    np.testing.assert_allclose(means, rollouts.means, rtol=1e-4, atol=1e-5)
    now = log_probability(rollouts.reasoning.states[:, :, 1:], means, rollouts.sigma)
    kept = log_probability(rollouts.reasoning.states[:, :, 1:], rollouts.means, rollouts.sigma)
    np.testing.assert_allclose(jnp.exp(now - kept), 1.0, rtol=1e-5)


def test_a_bandit_learns_its_best_direction():
    """Items are unit vectors, so the state that points to item 0 ranks it first: 200 updates."""
    rng = np.random.default_rng(0)
    items = jnp.asarray(rng.normal(size=(50, 6)), jnp.float32)
    items = items / jnp.linalg.norm(items, axis=1, keepdims=True)
    allowed = jnp.ones(50, bool)

    def reward(states):
        return REWARDS["dense_ndcg"](states @ items.T, allowed)

    def loss(mean, key):
        noise = draw_noise(key, 8, 1, 20, 6)[:, 0]
        sigma = measure_sigma(mean, 0.3)
        samples = jax.lax.stop_gradient(mean + sigma * noise)
        advantage, differs = compare_rewards(reward(samples))
        means = jnp.broadcast_to(mean, samples.shape)[:, :, None]
        now = log_probability(samples[:, :, None], means, jnp.full((8, 20, 1), sigma))
        ratio = jnp.exp(now - jax.lax.stop_gradient(now))
        gain = clip_ratio(ratio, advantage, 0.8, 1.28)[0].mean(axis=0)
        return -(gain * differs).sum() / jnp.maximum(differs.sum(), 1)

    optimizer = optax.adam(0.03)
    start = -items[0]  # as wrong as can be

    def update(carry, key):
        mean, moments = carry
        change, moments = optimizer.update(jax.grad(loss)(mean, key), moments)
        return (optax.apply_updates(mean, change), moments), None

    keys = jax.random.split(jax.random.key(0), 200)
    (mean, _), _ = jax.jit(lambda carry: jax.lax.scan(update, carry, keys))(
        (start, optimizer.init(start))
    )
    assert reward(start) < 0.2
    assert reward(mean) == 1.0
