"""A mini T5 learns 32 lists by heart; in bfloat16 it ranks as in float32."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import spearmanr

from gensr_jax.model import GenSR
from gensr_jax.scoring import score_candidates
from gensr_jax.settings import LossSettings
from gensr_jax.t5 import SIZES
from gensr_jax.tune import tune_terms

LISTS, ITEMS = 32, 9


@pytest.fixture(scope="module")
def case(drawn):
    """The corrected model on T5's size mini, without dropout, and 32 lists at random."""
    small = drawn()
    t5 = replace(SIZES["mini"], vocab_size=20, full_head=False, dropout=0.0)
    module = GenSR(replace(small.module.settings, t5=t5, dropout=0.0))
    rng = np.random.default_rng(0)
    clicks = [rng.permutation(ITEMS) + 1 for _ in range(LISTS)]  # history, target, negatives
    task = np.arange(LISTS) % 2
    batch = {
        "task": task,
        "valid": np.ones(LISTS),
        "user": np.arange(1, LISTS + 1),
        "target": [row[4] for row in clicks],
        "query": np.where(task, rng.integers(1, 4, LISTS), 0),
        "negatives": [row[5:7] for row in clicks],
        "rec_item": [row[:3] for row in clicks],
        "rec_mask": np.ones((LISTS, 3)),
        "search_query": np.ones((LISTS, 2)),
        "search_mask": np.ones((LISTS, 2)),
        "search_click": [[[row[3]], [0]] for row in clicks],
        "order": np.tile([0, 1, 2, 3, 4], (LISTS, 1)),
    }
    batch = {name: jnp.asarray(np.array(value, np.int32)) for name, value in batch.items()}

    def touch_all(model):
        return tune_terms(model, LossSettings(), small.constants, batch, deterministic=True)

    def init(key):
        return module.init(key, method=touch_all)["params"]

    params = jax.jit(init)(jax.random.key(0))
    return small._replace(module=module, params=params, batch=batch)


def test_learns_32_lists_by_heart(case):
    settings = LossSettings(contrastive_weight=0.0)
    adam = optax.adam(3e-3)

    def loss(params):
        def run(model):
            return tune_terms(model, settings, case.constants, case.batch, deterministic=True)[0]

        return case.module.apply({"params": params}, method=run)

    @jax.jit
    def train(params):
        def step(carry, _):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params)
            moves, state = adam.update(grads, state)
            return (optax.apply_updates(params, moves), state), value

        (params, _), values = jax.lax.scan(step, (params, adam.init(params)), length=200)
        return values

    values = train(case.params)
    assert values[0] > 0.5
    assert values[-1] < 0.01


def test_bfloat16_ranks_as_float32(case):
    def score(dtype):
        t5 = replace(case.module.settings.t5, dtype=dtype)
        module = GenSR(replace(case.module.settings, t5=t5))
        run = jax.jit(lambda params: score_candidates(module, params, case.constants, case.batch))
        return np.asarray(run(case.params)).ravel()

    wide, coarse = score("float32"), score("bfloat16")
    assert np.any(wide != coarse)
    assert spearmanr(wide, coarse).statistic > 0.999
