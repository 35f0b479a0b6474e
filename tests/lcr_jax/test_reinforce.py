"""The reinforcement stage: what its loss is made of, and what it must not change."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.view import View
from common.training.optimizers import make_updater
from common.training.task import Stage
from lcr_jax.rewards import REWARDS
from lcr_jax.second import make_second, second_loss
from lcr_jax.settings import LossSettings, Second

LOSS = LossSettings(alignment_negatives=8)
SECOND = Second(kind="reinforce", rollouts=4, negatives=12, in_batch=3, anchor_negatives=3)
REC, SEARCHES = [3, 0, 5, 0], [2, 4, 0, 0]  # both, no rec event, no search, neither


@pytest.fixture(scope="module")
def run():
    """run(model, batch, start=None, params=None, train=..., ...) -> (loss, metrics), gradients.

    The gradients are those of the parameters and of the reference. Compiled once per model and
    `train`; the weights of the terms are arguments.
    """
    compiled = {}

    def compile_for(model, train, in_batch):
        second = dataclasses.replace(SECOND, train=train, in_batch=in_batch)

        def loss(params, start, batch, weights):
            settings = dataclasses.replace(second, **weights)
            constants = model.constants | {"start": start}
            key = jax.random.key(0)
            return second_loss(model.module, LOSS, settings, params, constants, batch, key)

        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))

    def call(model, batch, start=None, params=None, train="reasoner", in_batch=3, **weights):
        index = (model.module, train, in_batch)
        if index not in compiled:
            compiled[index] = compile_for(model, train, in_batch)
        params = model.params if params is None else params
        start = params if start is None else start
        weights = {"kl_weight": 0.1, "anchor_weight": 1.0} | weights
        return compiled[index](params, start, batch, weights)

    return call


def disturb(params, size=0.05):
    rng = np.random.default_rng(5)

    def move(leaf):
        return np.asarray(leaf) + size * rng.normal(size=leaf.shape).astype(np.float32)

    return jax.tree.map(move, params)


def largest(tree):
    return max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(tree))


def test_at_its_first_step_nothing_has_moved(run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    (loss, metrics), _ = run(model, batch)
    assert metrics["ratio_min"] == metrics["ratio_max"] == 1.0
    assert metrics["clip_share"] == 0
    np.testing.assert_allclose(metrics["kl"], 0, atol=1e-9)
    np.testing.assert_allclose(metrics["norm_drift"], 1, rtol=1e-5)
    np.testing.assert_allclose(metrics["policy"], 0, atol=1e-6)  # advantages sum to 0
    np.testing.assert_allclose(loss, metrics["supervised"], rtol=1e-5)
    assert 0 < metrics["masked_share"] < 1 or metrics["reward_std"] > 0


def test_the_loss_is_the_sum_of_its_terms(run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    (loss, metrics), _ = run(
        model, batch, start=disturb(model.params), kl_weight=0.5, anchor_weight=2.0
    )
    assert metrics["kl"] > 1e-3
    assert abs(metrics["norm_drift"] - 1) > 1e-4
    expected = metrics["policy"] + 0.5 * metrics["kl"] + 2.0 * metrics["supervised"]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    parts = [metrics[name] for name in ("recommendation", "contrastive", "alignment")]
    together = parts[0] + LOSS.contrastive_weight * parts[1] + LOSS.alignment_weight * parts[2]
    np.testing.assert_allclose(metrics["supervised"], together, rtol=1e-5)


def test_the_greedy_reward_is_that_of_inference(run, build_model, build_batch):
    """All candidates but the batch's own negatives are left out, so that both rank the same."""
    model = build_model(scorer="dot")
    batch = build_batch([3, 5, 1], [2, 4, 0], negatives=12)
    (_, metrics), _ = run(model, batch, in_batch=0)
    scores, _ = model.run(batch)
    taken = np.concatenate(
        [batch["rec_item"], np.asarray(batch["search_click"]).reshape(3, -1)], axis=1
    )
    rewards = []
    for row in range(3):
        items = np.asarray(batch["negatives"][row])
        fresh = [
            item not in taken[row] and item != batch["target"][row] and item not in items[:place]
            for place, item in enumerate(items)
        ]
        allowed = jnp.array([True, *fresh])
        rewards.append(REWARDS["dense_ndcg"](scores[row], allowed))
    np.testing.assert_allclose(metrics["greedy_reward"], np.mean(rewards), rtol=1e-5)


def test_equal_rewards_give_no_policy_gradient_and_are_masked(run, build_model, build_batch):
    model, batch = build_model(scorer="dot"), build_batch(REC, SEARCHES, negatives=12)
    scorer = model.params["scorer"] | {"scale": jnp.zeros(())}  # every score is 0
    params = {**model.params, "scorer": scorer}
    (_, metrics), (gradient, _) = run(model, batch, params=params, kl_weight=0.0, anchor_weight=0.0)
    assert metrics["masked_share"] == 1
    assert metrics["reward_std"] == 0
    assert largest(gradient) == 0
    _, (gradient, _) = run(model, batch, in_batch=0, kl_weight=0.0, anchor_weight=0.0)
    assert largest(gradient["reasoner"]) > 1e-3  # otherwise the test could not fail


def test_the_reference_gets_no_gradient(run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    for train in ("reasoner", "all"):
        (_, metrics), (gradient, reference) = run(
            model, batch, start=disturb(model.params), train=train
        )
        assert metrics["kl"] > 1e-3
        assert largest(reference) == 0
        assert largest(gradient["reasoner"]) > 0


def test_only_the_anchor_teaches_the_scorer(run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    start = disturb(model.params)
    _, (gradient, _) = run(model, batch, start=start, train="all", anchor_weight=0.0)
    assert largest(gradient["scorer"]) == 0
    assert largest(gradient["encoder"]) > 1e-4  # through mu
    _, (gradient, _) = run(model, batch, start=start, train="all")
    assert largest(gradient["scorer"]) > 1e-4


@pytest.mark.parametrize("train", ["reasoner", "all"])
@pytest.mark.parametrize("options", [{}, {"scorer": "dot", "reground": True, "gate": False}])
def test_edge_rows_are_finite_in_value_and_gradient(train, options, run, build_model, build_batch):
    model, batch = build_model(**options), build_batch(REC, SEARCHES, negatives=12)
    (_, metrics), (gradient, _) = run(model, batch, start=disturb(model.params), train=train)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_padded_rows_change_nothing(run, build_model, build_batch):
    model, batch = build_model(), build_batch([3, 5, 1, 2], [2, 4, 0, 3], negatives=12)
    batch = batch | {
        "valid": batch["valid"].at[3].set(0),
        "target": batch["target"].at[3].set(0),
        "negatives": batch["negatives"].at[3].set(0),
    }
    other = batch | {
        "rec_item": batch["rec_item"].at[3, 0].set(9),
        "search_query": batch["search_query"].at[3, 0].set(9),
    }
    start = disturb(model.params)
    (loss, metrics), (gradient, _) = run(model, batch, start=start)
    (other_loss, other_metrics), (other_gradient, _) = run(model, other, start=start)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-5)
    for name in ("reward", "kl", "masked_share", "candidates", "evidence_entropy"):
        np.testing.assert_allclose(other_metrics[name], metrics[name], rtol=1e-5)
    for left, right in zip(jax.tree.leaves(gradient), jax.tree.leaves(other_gradient), strict=True):
        np.testing.assert_allclose(right, left, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("train", ["reasoner", "all"])
def test_frozen_parts_do_not_move(train, build_model):
    """Whatever the gradient, and although there is weight decay."""
    model = build_model()
    first = Stage("supervised", partial(int), View(negatives=3), batch_size=4, epochs=1)
    optimizer = dataclasses.replace(first.optimizer, weight_decay=0.1)
    second = dataclasses.replace(SECOND, train=train)
    stage = make_second(model.module, LOSS, second, first._replace(optimizer=optimizer))
    assert (stage.name, stage.view.negatives, stage.keeps_start) == ("reinforce", 12, True)
    assert stage.optimizer.learning_rate == {"reasoner": 1e-4, "all": 3e-5}[train]
    directions = make_updater(stage, model.params, 10).directions
    gradient = jax.tree.map(np.ones_like, model.params)
    move = jax.jit(lambda params: directions.update(gradient, directions.init(params), params)[0])
    moves = move(model.params)
    moved = {name for name in moves if largest(moves[name]) > 0}
    assert moved == ({"reasoner"} if train == "reasoner" else set(model.params))
