"""The layers against Flax's and against plain numpy: same parameters, same function."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from common.nn.attention import MultiHeadAttention, masked_softmax
from common.nn.dense import Dense, DenseWeights, multiply
from common.nn.dropout import Dropout, drop_at_random
from common.nn.norm import LayerNorm


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(1.0, 2.0, shape), jnp.float32)


@pytest.mark.parametrize(
    ("ours", "flax"),
    [
        (Dense(6), nn.Dense(6)),
        (Dense(6, use_bias=False), nn.Dense(6, use_bias=False)),
        (LayerNorm(), nn.LayerNorm()),
    ],
    ids=["dense", "dense without bias", "norm"],
)
def test_layers_equal_those_of_flax(ours, flax):
    x = draw(2, 3, 4)
    params = flax.init(jax.random.key(1), x)
    same = jax.tree.map(np.array_equal, ours.init(jax.random.key(1), x), params)
    assert all(jax.tree.leaves(same))
    params = jax.tree.map(lambda leaf: leaf + draw(*leaf.shape), params)

    def square(layer, params, x):
        return jnp.sum(layer.apply(params, x) ** 2)

    np.testing.assert_allclose(ours.apply(params, x), flax.apply(params, x), rtol=1e-5, atol=1e-5)
    for left, right in zip(
        jax.tree.leaves(jax.grad(square, argnums=(1, 2))(ours, params, x)),
        jax.tree.leaves(jax.grad(square, argnums=(1, 2))(flax, params, x)),
        strict=True,
    ):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-3)


def test_layers_of_one_input_share_a_product():
    x, layers = draw(2, 3, 4), [DenseWeights(6), DenseWeights(6)]
    params = [layer.init(jax.random.key(i), 4) for i, layer in enumerate(layers)]
    weights = [layer.apply(own, 4) for layer, own in zip(layers, params, strict=True)]
    for got, own in zip(multiply(x, weights), params, strict=True):
        np.testing.assert_allclose(got, nn.Dense(6).apply(own, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("each_query", [False, True], ids=["one mask", "a mask for each query"])
@pytest.mark.parametrize("bias_shape", [None, (2, 3, 4), (2, 1, 1, 4)])
@pytest.mark.parametrize("count", [1, 3])
def test_attention_equals_a_loop(each_query, bias_shape, count):
    layer = MultiHeadAttention(6, 2)
    queries, memory = draw(2, 3, 6)[:, :count], draw(2, 4, 6, seed=1)
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0]], bool)  # the second row sees nothing
    if each_query:
        mask = np.repeat(mask[:, None], count, axis=1)
        mask[0, -1] = [0, 1, 0, 0]
    bias = None if bias_shape is None else draw(*bias_shape, seed=2)[..., :count, :]
    params = layer.init(jax.random.key(0), queries, memory, mask, True)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * draw(*leaf.shape, seed=3), params)
    mixed, weights = layer.apply(params, queries, memory, jnp.asarray(mask), True, bias)

    def project(name, x):
        part = params["params"][name]
        return np.asarray(x) @ part["kernel"] + part["bias"]

    q, k, v = project("query", queries), project("key", memory), project("value", memory)
    for row in range(2):
        for query in range(count):
            parts = []
            for head in range(2):
                at = slice(3 * head, 3 * head + 3)
                logits = k[row][:, at] @ q[row, query, at] / np.sqrt(3)
                if bias is not None:
                    logits = logits + np.broadcast_to(bias, (2, 2, count, 4))[row, head, query]
                seen = mask[row, query] if each_query else mask[row]
                share = np.exp(logits - logits.max()) * seen
                share = share / max(share.sum(), 1e-9)
                np.testing.assert_allclose(weights[row, head, query], share, atol=1e-5)
                parts.append(share @ v[row][:, at])
            expected = project("out", np.concatenate(parts))
            np.testing.assert_allclose(mixed[row, query], expected, rtol=1e-4, atol=1e-4)


def test_a_softmax_over_nothing_is_zero_in_value_and_gradient():
    logits, mask = draw(2, 3), jnp.array([[True, False, True], [False] * 3])
    weights = masked_softmax(logits, mask)
    assert weights[0, 1] == 0
    np.testing.assert_allclose(weights.sum(axis=1), [1, 0], rtol=1e-6)
    gradient = jax.grad(lambda x: (masked_softmax(x, mask) * jnp.arange(3.0)).sum())(logits)
    assert gradient[0, 1] == 0
    assert gradient[0, 0] < 0 < gradient[0, 2]
    np.testing.assert_array_equal(gradient[1], 0)


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_keeps_the_mean(rate):
    x = jnp.full((1001, 301), 2.0)  # an odd width: the last word serves one number
    dropped = np.asarray(drop_at_random(jax.random.key(0), x, rate))
    kept = dropped != 0
    np.testing.assert_allclose(dropped[kept], 2.0 / (1 - rate), rtol=1e-4)
    spread = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(kept.mean() - (1 - rate)) < 5 * spread
    # Neighbours, which share a word of random bits, are dropped independently.
    both = (~kept[:, 0:300:2] & ~kept[:, 1:300:2]).mean()
    assert abs(both - rate**2) < 5 * np.sqrt(rate**2 / (x.size / 2))
    assert abs(kept[:, -1].mean() - (1 - rate)) < 5 * spread * np.sqrt(301)


def test_dropout_can_be_off_or_total():
    x, key = draw(4, 5), jax.random.key(0)
    layer = Dropout(0.5)
    np.testing.assert_array_equal(layer.apply({}, x, deterministic=True), x)
    np.testing.assert_array_equal(Dropout(0.0, deterministic=False).apply({}, x), x)
    once, again = (layer.apply({}, x, deterministic=False, rngs={"dropout": key}) for _ in "ab")
    np.testing.assert_array_equal(once, again)
    other = layer.apply({}, x, deterministic=False, rngs={"dropout": jax.random.key(1)})
    assert (once != other).any()
    np.testing.assert_array_equal(drop_at_random(key, x, 1.0), 0)
