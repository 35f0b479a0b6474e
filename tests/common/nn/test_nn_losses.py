"""The fused softmax equals the plain one in value and gradient; the attention bias steers."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.nn import losses
from common.nn.attention import MultiHeadAttention
from common.platform import made_for


def draw_inputs(rows, items, width):
    rng = np.random.default_rng(rows)
    states = rng.normal(size=(rows, width)).astype(np.float32)
    table = rng.normal(size=(items + 1, width)).astype(np.float32)
    target = rng.integers(1, items + 1, rows).astype(np.int32)
    return states, table, target, (np.arange(rows) % 3 != 1).astype(np.uint8)


def plain_softmax(states, table, target, valid):
    return losses.catalogue_softmax(states @ table.T, target, valid)


def test_catalogue_softmax_leaves_the_padding_item_out():
    scores = jnp.array([[50.0, 1.0, 2.0, 0.0]])
    got = losses.catalogue_softmax(scores, jnp.array([2]), jnp.ones(1))
    expected = np.log(np.exp([1.0, 2.0, 0.0]).sum()) - 2.0
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
@pytest.mark.parametrize("rows", [1, losses.BLOCK + 3])
def test_fused_softmax_equals_the_plain_one(rows, platform):
    states, table, target, valid = draw_inputs(rows, items=20, width=6)

    def run(loss):
        scaled = jax.value_and_grad(lambda s, t: 3 * loss(s, t, target, valid), (0, 1))
        return jax.jit(scaled)(states, table)

    with made_for(platform):
        value, grads = run(losses.fused_softmax)
    expected, expected_grads = run(plain_softmax)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for grad, known in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(grad, known, rtol=1e-4, atol=1e-6)
    assert not np.any(grads[1][0])  # the padding item
    assert not np.any(np.asarray(grads[0])[np.asarray(valid) == 0])


def differentiate(states, table, target, valid):
    """Value and gradients of the exact softmax by their formulas, in float64."""
    states, table = np.asarray(states, float), np.asarray(table, float)
    share = np.exp(states @ table.T)
    share[:, 0] = 0
    share /= share.sum(axis=1, keepdims=True)
    weight = np.asarray(valid) / max(np.sum(valid), 1)
    rows = np.arange(len(states))
    value = -(np.log(share[rows, target]) * weight).sum()
    share[rows, target] -= 1
    share *= weight[:, None]
    return value, (share @ table, share.T @ states)


@settings(max_examples=5, deadline=None, derandomize=True)
@given(rows=st.integers(1, 40), items=st.integers(1, 300), scores=st.integers(1, 9000))
def test_fused_softmax_in_blocks_of_any_size(rows, items, scores):
    inputs = draw_inputs(rows, items, width=3)
    expected, expected_grads = differentiate(*inputs)
    for platform in ("cpu", "gpu"):
        with pytest.MonkeyPatch.context() as patch, made_for(platform):
            patch.setattr(losses, "BLOCK_SCORES", scores)
            run = jax.jit(jax.value_and_grad(lambda *x: losses.fused_softmax(*x), (0, 1)))
            value, grads = run(*inputs)
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
        for grad, known in zip(grads, expected_grads, strict=True):
            np.testing.assert_allclose(grad, known, rtol=1e-4, atol=1e-6)


def test_blocks_of_rows_shrink_as_the_catalogue_grows():
    assert losses.choose_rows(12_102) == losses.choose_rows(400_001) == 128
    assert losses.choose_rows(1_000_001) == 64
    assert losses.choose_rows(10**9) == 8


@pytest.mark.parametrize(("platform", "most"), [("cpu", 0.8e9), ("gpu", 1.1e9)])
def test_the_memory_of_fused_softmax_stays_bounded(platform, most):
    """4,096 rows, 1 M items, width 64, only compiled: one copy of the scores would be 16 GB.

    Beside the gradients it takes two blocks of scores, 0.5 GB, where 2 GB were asked for; in blocks
    of items also two copies of the table.
    """
    shapes = [
        jax.ShapeDtypeStruct(shape, kind)
        for shape, kind in (
            ((4096, 64), jnp.float32),
            ((1_000_001, 64), jnp.float32),
            ((4096,), jnp.int32),
            ((4096,), jnp.uint8),
        )
    ]

    def measure(loss):
        compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert measure(plain_softmax) > 16e9
    with made_for(platform):
        assert measure(lambda *inputs: losses.fused_softmax(*inputs)) < most


def test_fused_softmax_by_hand():
    """One row: scores 0 and log 3, so the target has probability 3/4; a row of padding beside."""
    states = jnp.array([[1.0], [5.0]])
    table = jnp.array([[100.0], [0.0], [jnp.log(3.0)]])
    loss = losses.fused_softmax(states, table, jnp.array([2, 1]), jnp.array([1, 0], jnp.uint8))
    np.testing.assert_allclose(loss, np.log(4 / 3), rtol=1e-6)


def test_fused_softmax_of_nothing_is_zero():
    states, table = jnp.ones((2, 3)), jnp.ones((4, 3))
    run = jax.jit(jax.value_and_grad(losses.fused_softmax))
    value, grad = run(states, table, jnp.array([1, 2]), jnp.zeros(2, jnp.uint8))
    assert value == 0
    assert not np.any(grad)


def estimate(loss, count, scores, log_share, target, rng):
    """Mean of a sampled loss's gradients over all scores, negatives drawn without the target."""
    share = np.exp(log_share)
    share[target] = 0
    draws = rng.choice(len(scores), (4000, count), p=share / share.sum())
    candidates = jnp.asarray(np.concatenate([np.full((4000, 1), target), draws], axis=1))

    def mean_loss(scores):
        return loss(scores[candidates], jnp.asarray(log_share)[candidates], jnp.ones(4000))

    return jax.grad(mean_loss)(scores)


def test_sampled_softmax_approaches_the_exact_gradient():
    """The more negatives, the nearer; without the correction popular items stay too heavy."""
    rng = np.random.default_rng(0)
    scores, target = jnp.asarray(rng.normal(size=12)), 3
    share = np.arange(1, 13) ** -1.0
    log_share = np.log(share / share.sum())
    exact = jax.grad(lambda s: -jax.nn.log_softmax(s)[target])(scores)

    def distance(count, loss=losses.sampled_softmax):
        return float(abs(estimate(loss, count, scores, log_share, target, rng) - exact).max())

    assert distance(4) > 3 * distance(64)
    assert distance(256) < 0.01
    assert distance(256, lambda s, q, valid: losses.sampled_softmax(s, 0 * q - 3, valid)) > 0.05


def test_a_bias_moves_the_attention():
    module = MultiHeadAttention(4, 2)
    x = jnp.zeros((1, 3, 4))  # equal keys, so the bias alone decides
    mask = jnp.array([[True, True, False]])
    bias = jnp.zeros((2, 3, 3)).at[0, :, 1].set(jnp.log(3.0)).at[:, :, 2].set(9.0)
    params = module.init(jax.random.key(0), x, x, mask, True)
    _, weights = module.apply(params, x, x, mask, True, bias)
    np.testing.assert_allclose(weights[0, 0], [[0.25, 0.75, 0]] * 3, atol=1e-6)
    np.testing.assert_allclose(weights[0, 1], [[0.5, 0.5, 0]] * 3, atol=1e-6)


def test_devices_that_share_the_rows_go_through_their_own(run_script):
    """Gathering the rows on every device would have each of them do all the work."""
    done = run_script(Path(__file__).with_name("split_softmax.py"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    one = found.pop("cpu data:1")
    for mesh, got in found.items():
        assert got["gathered"] == [], mesh
        np.testing.assert_allclose(got["value"], one["value"], rtol=1e-5)
        for grad, known in zip(got["grads"], one["grads"], strict=True):
            np.testing.assert_allclose(grad, known, rtol=1e-5, atol=1e-7)
