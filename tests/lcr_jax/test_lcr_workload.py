"""LCR's workload: how its operations are counted, and how many its programs have."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.platform import made_for
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


def differentiate(work, stage, params, constants):
    """The stage's value and gradient as a function that is traced anew, and its arguments."""
    batch = {name: jnp.asarray(array) for name, array in work.loads[stage.name].batch.items()}
    if stage.keeps_start:
        constants = {**constants, "start": params}
    run = jax.value_and_grad(stage.loss, has_aux=True)
    return run, (params, constants, batch, jax.random.key(2))


def test_an_accelerator_gets_a_small_program():
    """Launches and compile time grow with it. 6,037 operations and 324 products head by head."""
    work = WORKLOAD.open(Sizes(reinforce=False))
    (stage,) = work.task.stages
    batch = work.loads[stage.name].batch
    params, constants = jax.eval_shape(work.task.init, jax.random.key(0), batch)
    run, arguments = differentiate(work, stage, params, constants)
    with made_for("gpu"):
        lines = jax.jit(run).lower(*arguments).as_text().splitlines()
    assert sum(" = " in line for line in lines) <= 4_900
    assert sum("dot_general" in line for line in lines) <= 160


def test_both_stages_are_the_same_function_on_every_platform():
    work = WORKLOAD.open(Sizes(batch=6, history=4, items=40, queries=20, width=8, reasoning=2))
    key = jax.random.key(1)
    params, constants = work.task.init(key, work.loads["supervised"].batch)
    for stage in work.task.stages:
        run, arguments = differentiate(work, stage, params, constants)
        with made_for("cpu"):
            (loss, _), grads = jax.jit(lambda *given, run=run: run(*given))(*arguments)
        with made_for("gpu"):
            (other, _), others = jax.jit(lambda *given, run=run: run(*given))(*arguments)
        np.testing.assert_allclose(loss, other, rtol=1e-5)
        for left, right in zip(jax.tree.leaves(grads), jax.tree.leaves(others), strict=True):
            np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-5)
