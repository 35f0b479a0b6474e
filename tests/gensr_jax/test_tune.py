"""The tune stage: its loss, what it trains, and that it learns."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.training.optimizers import make_updater
from common.training.task import Optimizer, Stage
from gensr_jax.settings import LossSettings
from gensr_jax.task import is_decayed
from gensr_jax.tune import list_losses, tune_loss, tune_terms


def loss_of(case, settings=None, batch=None, seed=0):
    settings, batch = settings or LossSettings(), batch or case.batch

    def run(params):
        return tune_loss(case.module, settings, params, case.constants, batch, jax.random.key(seed))

    return jax.jit(jax.value_and_grad(run, has_aux=True))


def test_a_constant_answer_is_worth_the_entropy_of_the_shares(make):
    """1 positive and 4 negatives: the best constant is ln(1/4), its loss 0.5004 nats."""
    case = make()
    real = jnp.ones((1, 5), bool)

    def loss(z):
        logits = jnp.stack([jnp.full((1, 5), z), jnp.zeros((1, 5))], axis=-1)
        return list_losses(case.module, LossSettings(), logits, real)[0]

    best = jnp.log(0.25)
    assert loss(best) == pytest.approx(0.5004, abs=5e-5)
    assert jax.grad(loss)(best) == pytest.approx(0, abs=1e-6)


def test_losses_of_a_list_by_hand(make):
    case = make()
    z = jnp.array([[1.0, -2.0, 3.0]])
    logits = jnp.stack([z, jnp.zeros_like(z)], axis=-1)
    real = jnp.array([[True, True, False]])
    binary = (np.log1p(np.exp(-1.0)) + np.log1p(np.exp(-2.0))) / 2
    grouped = np.log1p(np.exp(-3.0))
    for settings, expected in (
        (LossSettings(), binary),
        (LossSettings(task="group"), grouped + binary),
        (LossSettings(task="group", group_bce_weight=0.0), grouped),
    ):
        value = list_losses(case.module, settings, logits, real)
        assert float(value[0]) == pytest.approx(expected, rel=1e-5)


def test_padding_counts_for_nothing(make):
    case = make()
    padded = {name: jnp.concatenate([array, array[:1]]) for name, array in case.batch.items()}
    padded["valid"] = padded["valid"].at[3].set(0)

    def value(batch):
        def run(model):
            return tune_terms(model, LossSettings(), case.constants, batch, deterministic=True)[0]

        return case.module.apply({"params": case.params}, method=run)

    value = jax.jit(value)
    assert float(value(padded)) == pytest.approx(float(value(case.batch)), rel=1e-5)


def test_parts_are_told_apart(make):
    case = make()
    (total, metrics), _ = loss_of(case, LossSettings(contrastive_weight=0.5))(case.params)
    expected = metrics["task"] + 0.5 * metrics["contrastive"]
    assert float(total) == pytest.approx(float(expected), rel=1e-6)
    both = (metrics["task_rec"] + 2 * metrics["task_search"]) / 3  # one rec list, two searches
    assert float(metrics["task"]) == pytest.approx(float(both), rel=1e-5)


@pytest.mark.parametrize("fixture", ["corrected", "published"])
def test_gradients_are_finite_and_reach_what_they_should(request, make, fixture):
    case = make() if fixture == "corrected" else request.getfixturevalue("published")
    settings = LossSettings()
    if fixture == "published":
        settings = LossSettings(task="vocab_ce", contrastive_rows="all")
    _, grads = loss_of(case, settings)(case.params)
    flat = {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_leaves_with_path(grads)
    }
    assert all(np.all(np.isfinite(leaf)) for leaf in flat.values())
    dead = {name for name, leaf in flat.items() if not np.any(leaf)}
    # One decoded position attends to itself alone: no query, key or bias. A two-way softmax over
    # one head's bias of keys has none either.
    allowed = ("t5/decoder/relative_bias", "query", "key/bias", "/q", "/k")
    assert all("decoder" in name or name.endswith(allowed) for name in dead), dead


def test_nothing_to_read_has_finite_gradients(make):
    """No history; no title at all, and a candidate that the CF table does not know; only pads."""
    case = make()
    zeros = jnp.zeros_like
    blank = {name: zeros(case.batch[name]) for name in ("rec_item", "search_click")}
    titles = {name: zeros(case.constants[name]) for name in ("title_head", "title_full")}
    cold = {"cf_table": case.constants["cf_table"].at[4].set(0.0)}
    pads = {"valid": zeros(case.batch["valid"]), "negatives": zeros(case.batch["negatives"])}

    @jax.jit
    def run(constants, batch):
        def loss(params):
            key = jax.random.key(0)
            return tune_loss(case.module, LossSettings(), params, constants, batch, key)[0]

        return jax.value_and_grad(loss)(case.params)

    for constants, batch in (({}, blank), (titles | cold, {}), (titles, blank), ({}, blank | pads)):
        value, grads = run(case.constants | constants, case.batch | batch)
        assert np.isfinite(value)
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))
    assert value == 0  # the last: nothing but pads
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(grads))


@pytest.mark.parametrize("head", ["two", "towers"])
def test_learns_three_lists_by_heart(make, head):
    case = make(dropout=0.0, head=head)
    step = loss_of(case, LossSettings(contrastive_weight=0.0))
    adam = optax.adam(1e-2)

    @jax.jit
    def update(params, state):
        (value, _), grads = step(params)
        moves, state = adam.update(grads, state)
        return optax.apply_updates(params, moves), state, value

    params, state = case.params, adam.init(case.params)
    for _ in range(150):
        params, state, value = update(params, state)
    assert value < 0.02


def test_rates_and_decay_by_name():
    stage = Stage(
        name="tune", loss=lambda *_: None, view=None, batch_size=1, epochs=1,
        optimizer=Optimizer(
            weight_decay=0.1, decayed=is_decayed,
            rate_share=lambda name: 0.1 if name.startswith("model/t5/") else 1.0,
        ),
    )  # fmt: skip
    params = {
        "model": {
            "t5": {"shared": jnp.ones((2, 2)), "kernel": jnp.ones((2, 2))},
            "kernel": jnp.ones((2, 2)),
            "gain": jnp.ones(4),
        }
    }
    updater = make_updater(stage, params, 10)
    zero = jax.tree.map(jnp.zeros_like, params)
    moves, _ = updater.directions.update(zero, updater.directions.init(params), params)
    model = moves["model"]
    np.testing.assert_allclose(model["kernel"], 0.1, rtol=1e-6)  # decay alone
    np.testing.assert_allclose(model["t5"]["kernel"], 0.01, rtol=1e-6)
    assert not np.any(model["t5"]["shared"])
    assert not np.any(model["gain"])
