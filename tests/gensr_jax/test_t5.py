"""T5: sizes, buckets, the one-step answer, precision, pads, dropout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from gensr_jax.t5 import SIZES, T5, logits
from gensr_jax.t5_layers import (
    Attention,
    FeedForward,
    RMSNorm,
    relative_bias,
    relative_buckets,
)
from gensr_jax.t5_weights import parameter_shapes

GOLDEN = Path(__file__).parents[1] / "golden" / "t5_golden.npz"
CONFIG = replace(
    SIZES["mini"], vocab_size=40, width=32, heads=3, head_width=8, ff_width=48, encoder_layers=1
)
ROWS, LENGTH = 3, 12
MASK = np.arange(LENGTH)[None] < np.array([12, 7, 1])[:, None]


@pytest.fixture(scope="module")
def params():
    """Numbers of about the initial size, but no gain is 1: a lost one would not show."""
    rng = np.random.default_rng(0)

    def draw(path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        noise = rng.normal(size=shape).astype(np.float32)
        if path[-1] == "scale":
            return 1 + 0.2 * noise
        return noise if path[-1] in ("shared", "relative_bias") else noise * shape[-2] ** -0.5

    shapes = parameter_shapes(CONFIG)
    return unflatten_dict({path: draw(path, shape) for path, shape in shapes.items()})


@pytest.fixture(scope="module")
def encoded():
    rng = np.random.default_rng(1)
    return jnp.asarray(rng.normal(size=(ROWS, LENGTH, CONFIG.width)).astype(np.float32))


def draw_ids(seed: int, length: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(2, 40, (ROWS, length)).astype(np.int32)


@pytest.mark.parametrize(
    ("size", "count"), [("small", 76_961_152), ("base", 247_577_856), ("large", 783_150_080)]
)
def test_sizes_have_the_published_number_of_parameters(size, count):
    shapes = parameter_shapes(SIZES[size])
    assert sum(int(np.prod(shape)) for shape in shapes.values()) == count


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_buckets_are_those_of_the_reference(stack):
    golden = np.load(GOLDEN)[f"{stack}_buckets"]  # of distances -200 .. 200
    buckets = relative_buckets(201, 201, stack == "encoder", 32, 128)
    for query in (0, 100, 200):
        np.testing.assert_array_equal(buckets[query], golden[200 - query : 401 - query])


def test_buckets_worked_by_hand():
    # Keys 1 after, 7 after, 8 after (the first shared bucket), 1 before, 1000 before.
    buckets = relative_buckets(1001, 1009, True, 32, 128)
    assert list(buckets[1000, [1001, 1007, 1008, 999, 0]]) == [17, 23, 24, 1, 15]


def test_relative_bias_reads_one_table_row_per_head():
    table = jnp.asarray(np.arange(8.0, dtype=np.float32).reshape(4, 2))
    bias = relative_bias(table, np.array([[0, 3], [1, 0]], np.int32))
    np.testing.assert_array_equal(bias, [[[0, 6], [2, 0]], [[1, 7], [3, 1]]])


def test_norm_worked_by_hand():
    x = jnp.array([[3.0, -4.0]])
    normed = RMSNorm(2).apply({"params": {"scale": jnp.array([1.0, 2.0])}}, x)
    np.testing.assert_allclose(normed, np.array([[3.0, -8.0]]) / 12.5**0.5, rtol=1e-6)


def test_folded_answer_equals_the_plain_one_and_the_decoder(params, encoded):
    model = T5(CONFIG)
    direction = jnp.asarray(np.random.default_rng(2).normal(size=(ROWS, CONFIG.width)))

    def value(params, encoded, folded):
        states = model.apply({"params": params}, encoded, MASK, True, folded, method=model.answer)
        return (states * direction).sum(), states

    @jax.jit
    def run(params, encoded):
        grad = jax.grad(value, argnums=(0, 1), has_aux=True)
        start = jnp.zeros((ROWS, 1), jnp.int32)
        general = model.apply({"params": params}, start, encoded, MASK, True, method=model.decode)
        return *grad(params, encoded, True), *grad(params, encoded, False), general[:, 0]

    grads, states, plain_grads, plain_states, general = run(params, encoded)
    np.testing.assert_allclose(states, plain_states, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(states, general, rtol=1e-5, atol=1e-5)
    for ours, plain in zip(jax.tree.leaves(grads), jax.tree.leaves(plain_grads), strict=True):
        scale = float(jnp.abs(plain).max())
        np.testing.assert_allclose(ours, plain, rtol=1e-5, atol=1e-5 * max(scale, 0.1))
    attention = grads[0]["decoder"]["layers"]["attention"]
    for layer in range(CONFIG.decoder_layers):
        assert not attention["q"][layer].any()
        assert not attention["k"][layer].any()
        assert attention["v"][layer].any()
        assert attention["o"][layer].any()
    assert not grads[0]["decoder"]["relative_bias"].any()
    # Positions that are not seen get nothing either.
    assert not grads[1][~MASK].any()
    assert (jnp.abs(grads[1]).sum(axis=-1) > 0)[MASK].all()


def test_answer_alone_initialises_the_whole_decoder(encoded):
    model = T5(replace(CONFIG, full_head=False))
    made = jax.eval_shape(
        lambda: model.init(jax.random.key(0), encoded, MASK, True, method=model.answer)["params"]
    )
    wanted = parameter_shapes(CONFIG)
    leaves = flatten_dict(made["decoder"])
    assert {("decoder", *path): leaf.shape for path, leaf in leaves.items()} == {
        path: shape for path, shape in wanted.items() if path[0] == "decoder"
    }
    assert "head" not in made
    assert wanted["head",] == (32, 40)


def test_pads_at_the_end_and_batch_mates_do_not_matter(params):
    ids, decoder_ids = draw_ids(3, LENGTH), draw_ids(4, 4)
    short = np.array(logits(CONFIG, params, ids, MASK, decoder_ids))
    wide = np.pad(ids, ((0, 0), (0, 9)), constant_values=5)
    long = logits(CONFIG, params, wide, np.pad(MASK, ((0, 0), (0, 9))), decoder_ids)
    np.testing.assert_allclose(short, long, atol=1e-5)
    ids[[0, 2]] = draw_ids(6, LENGTH)[[0, 2]]
    others = logits(CONFIG, params, ids.copy(), MASK, decoder_ids)
    np.testing.assert_allclose(short[1], others[1], atol=1e-5)
    assert np.abs(short[0] - others[0]).max() > 0.1


def test_the_decoder_does_not_see_what_comes_later(params):
    ids, decoder_ids = draw_ids(3, LENGTH), draw_ids(4, 4)
    before = logits(CONFIG, params, ids, MASK, decoder_ids)
    others = decoder_ids + np.array([0, 0, 1, 0], np.int32)
    after = logits(CONFIG, params, ids, MASK, others)
    np.testing.assert_array_equal(before[:, :2], after[:, :2])
    assert (np.abs(before[:, 2:] - after[:, 2:]).max(axis=-1) > 1e-3).all()


def test_bfloat16_is_close_to_float32(params):
    ids, decoder_ids = draw_ids(3, LENGTH), draw_ids(4, 4)
    exact = np.asarray(logits(CONFIG, params, ids, MASK, decoder_ids))
    coarse = logits(replace(CONFIG, dtype="bfloat16"), params, ids, MASK, decoder_ids)
    assert coarse.dtype == jnp.float32
    assert np.corrcoef(exact.ravel(), np.asarray(coarse).ravel())[0, 1] > 0.999
    assert np.abs(exact - coarse).max() < 0.05 * np.abs(exact).max()


def test_states_are_in_the_compute_dtype(params):
    model = T5(replace(CONFIG, dtype="bfloat16"))

    def run(params):
        words = model.apply({"params": params}, draw_ids(3, LENGTH), method=model.embed)
        states = model.apply(
            {"params": params}, words.astype(jnp.float32), MASK, True, method=model.encode
        )
        answers = model.apply({"params": params}, states, MASK, True, method=model.answer)
        return words, states, answers, model.apply({"params": params}, answers, method=model.head)

    dtypes = [out.dtype for out in jax.eval_shape(run, params)]
    assert dtypes == [jnp.bfloat16, jnp.bfloat16, jnp.bfloat16, jnp.float32]


def test_rematerialised_layers_give_the_same_gradients_under_dropout(params, encoded):
    def run(config):
        model = T5(config)

        @jax.jit
        @jax.value_and_grad
        def loss(params):
            rngs = {"dropout": jax.random.key(5, impl="unsafe_rbg")}
            out = model.apply(
                {"params": params}, encoded, MASK, False, rngs=rngs, method=model.encode
            )
            out = model.apply(
                {"params": params}, draw_ids(4, 4), out, MASK, True, method=model.decode
            )
            return jnp.square(out).mean()

        return loss(params)

    (loss, kept), (same_loss, redone) = run(CONFIG), run(replace(CONFIG, remat=True))
    np.testing.assert_allclose(loss, same_loss, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(kept), jax.tree.leaves(redone), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_dropout_needs_a_key_and_changes_the_answer(params, encoded):
    model = T5(replace(CONFIG, dropout=0.5))

    @jax.jit
    def run(seed):
        rngs = {"dropout": jax.random.key(seed, impl="unsafe_rbg")}
        return model.apply({"params": params}, encoded, MASK, False, rngs=rngs, method=model.answer)

    assert np.isfinite(run(0)).all()
    assert np.abs(run(0) - run(1)).max() > 0.1
    # The last dropout leaves about half of the numbers.
    assert 0.3 < np.mean(np.asarray(run(0)) == 0) < 0.7


def test_initial_values_have_the_sizes_of_t5():
    x = jnp.ones((2, 64))
    attention, feed = Attention(64, 4, 32, 0.0), FeedForward(64, 256, 0.0)

    @jax.jit
    def deviate(key):
        made = attention.init(key, x, True, method="attend_to_itself")["params"]
        return jax.tree.map(jnp.std, made | feed.init(key, x, True)["params"])

    wanted = {"q": (64 * 32) ** -0.5, "k": 64**-0.5, "v": 64**-0.5, "o": 128**-0.5}
    wanted |= {"wi_0": 64**-0.5, "wi_1": 64**-0.5, "wo": 256**-0.5}
    made = deviate(jax.random.key(0, impl="unsafe_rbg"))
    assert {name: float(value) for name, value in made.items()} == pytest.approx(wanted, rel=0.05)
