"""The controls: each is what it claims, with the start, data and anchor of reinforcement."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.view import View
from common.errors import InputError
from common.training.task import Stage
from lcr_jax import build
from lcr_jax.configs import base
from lcr_jax.controls import approx_ndcg, group_softmax
from lcr_jax.rewards import REWARDS
from lcr_jax.second import TERMS, make_second, second_loss
from lcr_jax.settings import LossSettings, Second
from lcr_jax.supervised import supervised_loss

LOSS = LossSettings(alignment_weight=0.0)
SECOND = Second(rollouts=3, negatives=12, in_batch=3, anchor_negatives=3)
REC, SEARCHES = [3, 0, 5, 0], [2, 4, 0, 0]
CONTROLS = ("more", "likelihood", "ranking", "noise")


@pytest.fixture(scope="module")
def run():
    """run(kind, model, batch, start=None, dropout=False, **weights) -> (loss, metrics), gradient.

    Compiled once per kind; the weights of the terms and the size of the noise are arguments.
    """
    compiled = {}

    def compile_for(kind, model, dropout):
        second = dataclasses.replace(SECOND, kind=kind, dropout=dropout, train="all")

        def loss(params, start, batch, weights):
            settings = dataclasses.replace(second, **weights)
            constants = model.constants | {"start": start}
            key = jax.random.key(0)
            return second_loss(model.module, LOSS, settings, params, constants, batch, key)

        return jax.jit(jax.value_and_grad(loss, has_aux=True))

    def call(kind, model, batch, start=None, dropout=False, **weights):
        index = (kind, model.module, dropout)
        if index not in compiled:
            compiled[index] = compile_for(kind, model, dropout)
        start = model.params if start is None else start
        weights = {"kl_weight": 0.1, "anchor_weight": 1.0, "noise": 0.1} | weights
        return compiled[index](model.params, start, batch, weights)

    return call


def test_ranking_losses_by_hand():
    scores = jnp.array([[1.0, 2.0, 0.0, 9.0]])
    allowed = jnp.array([[True, True, True, False]])
    ahead = 1 / (1 + np.exp(-2.0)) + 1 / (1 + np.exp(2.0))  # temperature 0.5
    np.testing.assert_allclose(
        approx_ndcg(scores, allowed, 0.5), [-1 / np.log2(2 + ahead)], rtol=1e-6
    )
    expected = np.log(np.exp([2.0, 4.0, 0.0]).sum()) - 2.0
    np.testing.assert_allclose(group_softmax(scores, allowed, 0.5), [expected], rtol=1e-6)


def test_approx_ndcg_is_the_reward_when_cold():
    rng = np.random.default_rng(0)
    scores, allowed = jnp.asarray(rng.normal(size=(20, 30))), rng.random((20, 30)) < 0.8
    np.testing.assert_allclose(
        -approx_ndcg(scores, jnp.asarray(allowed), 1e-5),
        REWARDS["dense_ndcg"](scores, jnp.asarray(allowed)),
        rtol=1e-5,
    )


@pytest.mark.parametrize("kind", CONTROLS)
def test_edge_rows_are_finite_and_the_terms_add_up(kind, run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    start = jax.tree.map(lambda leaf: np.asarray(leaf) * np.float32(1.05), model.params)
    (loss, metrics), gradient = run(kind, model, batch, start, anchor_weight=2.0, kl_weight=0.5)
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    own = {
        "more": 0.0,
        "likelihood": metrics.get("policy", 0.0) + 0.5 * metrics.get("kl", 0.0),
        "ranking": metrics.get("ranking"),
        "noise": metrics.get("disagreement"),
    }[kind]
    np.testing.assert_allclose(loss, own + 2.0 * metrics["supervised"], rtol=1e-5)
    assert kind != "likelihood" or metrics["kl"] > 1e-4
    assert kind != "noise" or metrics["disagreement"] > 1e-4


def test_more_is_the_supervised_loss(run, build_model, build_batch):
    """Of the batch's twelve negatives it takes the three that stage 1 has."""
    batch, model = build_batch(REC, SEARCHES, negatives=12), build_model()
    (loss, _), gradient = run("more", model, batch)
    without_dropout = build_model(dropout=0.0).module
    few = batch | {"negatives": batch["negatives"][:, :3]}
    plain = jax.value_and_grad(
        lambda params: supervised_loss(
            without_dropout, LOSS, params, model.constants, few, jax.random.key(7)
        )[0]
    )
    expected, expected_gradient = jax.jit(plain)(model.params)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    jax.tree.map(
        partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), gradient, expected_gradient
    )


def test_dropout_reaches_the_anchor_only_when_asked(run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    still, _ = run("more", model, batch)
    noisy, _ = run("more", model, batch, dropout=True)
    assert abs(noisy[0] - still[0]) > 1e-3


def test_likelihood_starts_at_its_reference(run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    (_, metrics), gradient = run("likelihood", model, batch, anchor_weight=0.0)
    np.testing.assert_allclose(metrics["kl"], 0, atol=1e-9)
    assert jnp.abs(gradient["scorer"]["scale"]) > 1e-6  # unlike the policy's, it moves the scorer


def test_without_noise_there_is_nothing_to_agree_on(run, build_model, build_batch):
    model, batch = build_model(), build_batch(REC, SEARCHES, negatives=12)
    (_, quiet), _ = run("noise", model, batch, noise=1e-5)
    (_, loud), _ = run("noise", model, batch, noise=0.1)
    np.testing.assert_allclose(quiet["disagreement"], 0, atol=1e-5)
    assert loud["disagreement"] > 1e-3


def test_all_kinds_share_everything_but_the_loss(build_model):
    model = build_model().module
    first = Stage("supervised", partial(int), View(negatives=4), batch_size=8, epochs=9)
    stages = [
        make_second(model, LOSS, dataclasses.replace(SECOND, kind=kind), first) for kind in TERMS
    ]
    shared = {
        stage._replace(name="", loss=None, keeps_start=False)  # type: ignore[arg-type]
        for stage in stages
    }
    assert len(shared) == 1
    assert [stage.name for stage in stages] == ["reinforce", *CONTROLS]
    assert [stage.name for stage in stages if stage.keeps_start] == ["reinforce", "likelihood"]


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"kind": "ppo"}, "config.second.kind"),
        ({"kind": "none", "start": "runs/a"}, "config.second.start"),
        ({"rollouts": 1}, "config.second.rollouts = 1"),
        ({"noise": 0.0}, "config.second.noise"),
        ({"clip_low": 1.2}, "config.second.clip_low"),
        ({"train": "encoder"}, "config.second.train"),
        ({"reward": "ndcg"}, "config.second.reward"),
        ({"ranking_loss": "lambda"}, "config.second.ranking_loss"),
        ({"steps": 0}, "config.second.kind: reinforce needs reasoning steps"),
        ({"steps": 0, "kind": "noise"}, "config.second.kind: noise needs reasoning steps"),
        ({"steps": 0, "kind": "more"}, "config.second.train: there is no reasoner"),
    ],
)
def test_settings_that_cannot_be_are_named(changes, key):
    config = base.get_config()
    config.second.kind = "reinforce"
    for name, value in changes.items():
        group = config.reasoner if name == "steps" else config.second
        group[name] = value
    with pytest.raises(InputError, match=key):
        build(config, dataset=None)  # type: ignore[arg-type]
