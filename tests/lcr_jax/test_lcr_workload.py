"""LCR's workload: how its operations are counted, and how many its programs have."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from lcr_jax.configs import base
from lcr_jax.workload import WORKLOAD, Sizes, count_forward


def test_operations_of_the_literal_configuration():
    config = base.get_config()
    config.data.rec_length = config.data.search_length = 30
    count = count_forward(config, rows=1112, items=20_000, queries=5_000)
    # 61 tokens: 48 * 64^2 + 4 * 61 * 64 products of two operations are 7 of the 10 MFLOP.
    encoder = 2 * 61 * (12 * 64**2 + 2 * 61 * 64)
    assert encoder == 6_949_120
    assert encoder < count < 1.6 * encoder
    config.model.layers = 2
    assert count_forward(config, 1112, 20_000, 5_000) - count == pytest.approx(encoder)
    # A catalogue too large to be mapped as a whole costs what the batch asks of it, and no more.
    large = count_forward(config, 1112, 500_000, 5_000)
    assert large == count_forward(config, 1112, 900_000, 5_000) > count


def test_the_step_is_a_small_program():
    """Launches and compile time grow with it. 6,037 operations and 324 products head by head."""
    work = WORKLOAD.open(Sizes(reinforce=False))
    (stage,) = work.task.stages
    batch = {name: jnp.asarray(array) for name, array in work.loads[stage.name].batch.items()}
    key = jax.random.key(0)
    params, constants = jax.eval_shape(work.task.init, key, batch)
    run = jax.jit(jax.value_and_grad(stage.loss, has_aux=True))
    lines = run.lower(params, constants, batch, key).as_text().splitlines()
    assert sum(" = " in line for line in lines) <= 4_900
    assert sum("dot_general" in line for line in lines) <= 160
