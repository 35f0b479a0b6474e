"""The fused softmax equals the plain one in value and gradient; the attention bias steers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.nn import losses
from common.nn.attention import MultiHeadAttention


@pytest.mark.parametrize("rows", [1, losses.BLOCK + 3])
def test_fused_softmax_equals_the_plain_one(rows):
    keys = jax.random.split(jax.random.key(rows), 3)
    states, table = jax.random.normal(keys[0], (rows, 6)), jax.random.normal(keys[1], (21, 6))
    target = jax.random.randint(keys[2], (rows,), 1, 21)
    valid = (jnp.arange(rows) % 3 != 1).astype(jnp.uint8)

    def fused(states, table):
        return 3 * losses.fused_softmax(states, table, target, valid)

    def plain(states, table):
        return 3 * losses.catalogue_softmax(states @ table.T, target, valid)

    value, grads = jax.jit(jax.value_and_grad(fused, argnums=(0, 1)))(states, table)
    expected, expected_grads = jax.jit(jax.value_and_grad(plain, argnums=(0, 1)))(states, table)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for grad, known in zip(grads, expected_grads, strict=True):
        np.testing.assert_allclose(grad, known, rtol=1e-4, atol=1e-6)
    assert not np.any(grads[1][0])  # the padding item
    assert not np.any(np.asarray(grads[0])[np.asarray(valid) == 0])


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


def test_a_bias_moves_the_attention():
    module = MultiHeadAttention(4, 2)
    x = jnp.zeros((1, 3, 4))  # equal keys, so the bias alone decides
    mask = jnp.array([[True, True, False]])
    bias = jnp.zeros((2, 3, 3)).at[0, :, 1].set(jnp.log(3.0)).at[:, :, 2].set(9.0)
    params = module.init(jax.random.key(0), x, x, mask, True)
    _, weights = module.apply(params, x, x, mask, True, bias)
    np.testing.assert_allclose(weights[0, 0], [[0.25, 0.75, 0]] * 3, atol=1e-6)
    np.testing.assert_allclose(weights[0, 1], [[0.5, 0.5, 0]] * 3, atol=1e-6)
