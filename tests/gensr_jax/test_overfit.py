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
from gensr_jax.tune import tune_terms

LISTS, ITEMS, STEPS = 32, 9, 300
MINI = {
    "width": 64, "heads": 4, "head_width": 16, "ff_width": 128, "encoder_layers": 2,
    "decoder_layers": 2, "dropout": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def case(drawn):
    """The corrected model on T5's size mini, without dropout, and 32 lists at random."""
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
    arrays = {name: jnp.asarray(np.array(value, np.int32)) for name, value in batch.items()}
    case = drawn(MINI, dropout=0.0)._replace(batch=arrays)

    def touch_all(model):
        return tune_terms(model, LossSettings(), case.constants, arrays, deterministic=True)

    def init(key):
        return case.module.init(key, method=touch_all)["params"]

    return case._replace(params=jax.jit(init)(jax.random.key(0)))


@pytest.fixture(scope="module")
def trained(case):
    """The parameters after 200 steps over all lists, and the loss before each step."""
    settings = LossSettings(contrastive_weight=0.0)
    adam = optax.adam(3e-3)

    def loss(params):
        def run(model):
            return tune_terms(model, settings, case.constants, case.batch, deterministic=True)[0]

        return case.module.apply({"params": params}, method=run)

    def step(carry, _):
        params, state = carry
        value, grads = jax.value_and_grad(loss)(params)
        moves, state = adam.update(grads, state)
        return (optax.apply_updates(params, moves), state), value

    @jax.jit
    def train(params):
        (params, _), values = jax.lax.scan(step, (params, adam.init(params)), length=STEPS)
        return params, values

    return train(case.params)


def test_learns_32_lists_by_heart(trained):
    _, values = trained
    assert values[0] > 0.5
    assert values[-1] < 0.01, values[-3:]


def test_bfloat16_ranks_as_float32(case, trained):
    """Trained scores: those of random weights lie so close that rounding is a part of them."""

    def score(dtype):
        t5 = replace(case.module.settings.t5, dtype=dtype)
        module = GenSR(replace(case.module.settings, t5=t5))
        run = jax.jit(
            lambda params: score_candidates(module, params, case.constants, case.batch),
        )
        return np.asarray(run(trained[0])).ravel()

    wide, coarse = score("float32"), score("bfloat16")
    assert np.any(wide != coarse)
    assert spearmanr(wide, coarse).statistic > 0.999
