"""Operations counted by hand against known figures of flan-t5-base at 110 tokens."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from gensr_jax.cost import count_answer, count_encoder, count_forward
from gensr_jax.settings import ModelSettings
from gensr_jax.t5 import SIZES, T5


def test_encoder_of_base():
    assert count_encoder(SIZES["base"], 110) == 169_869_312 * 110 + 36_864 * 110**2


def test_folding_saves_the_keys_and_values():
    base = SIZES["base"]
    plain = count_answer(base, 110, folded=False)
    folded = count_answer(base, 110, folded=True)
    # 259.9 MFLOP for keys, values and attention of a layer become 6.4.
    assert (plain - folded) / base.decoder_layers == pytest.approx((259.9 - 6.4) * 1e6, rel=0.01)


def test_a_list_of_five():
    """About 19.4 GFLOP a row and 2 GFLOP a list."""
    settings = ModelSettings(t5=SIZES["base"], n_items=10)
    assert count_forward(settings, 110, 5) == pytest.approx(5 * 19.4e9 + 2.0e9, rel=0.01)


def test_compiled_encoder_does_about_as_much():
    config = replace(SIZES["mini"], vocab_size=8)
    x, mask = jnp.zeros((4, 32, config.width)), jnp.ones((4, 32), bool)
    model = T5(config)

    def encode(params, x):
        return model.apply({"params": params}, x, mask, True, method=T5.encode)

    ids = jnp.zeros((1, 2), jnp.int32)
    params = jax.eval_shape(model.init, jax.random.key(0), ids, ids != 0, ids)["params"]
    cost = jax.jit(encode).lower(params, x).compile().cost_analysis()
    assert 4 * count_encoder(config, 32) == pytest.approx(cost["flops"], rel=0.2)
