"""LCR as a task: both ways of scoring agree, and configuration errors name their key."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import InputError
from lcr_jax import build
from lcr_jax.configs import base, tiny

ITEMS = 300  # more than one block of the MLP scorer


@pytest.fixture
def dataset():
    """What LCR reads of a dataset: sizes, tables and training targets."""
    rng = np.random.default_rng(0)
    target = rng.integers(1, ITEMS + 1, 500)
    categories = rng.integers(0, 5, (ITEMS + 1, 4)).astype(np.int32)
    categories[0] = 0
    return SimpleNamespace(
        n_items=ITEMS,
        n_users=10,
        n_tokens=9,
        query_tokens=rng.integers(0, 10, (13, 3)).astype(np.int32),
        item_categories=categories,
        events=lambda task: SimpleNamespace(target=target),
        rows={("rec", "train"): np.arange(400)},
    )


def small_config(**changes):
    config = base.get_config()
    config.data.rec_length, config.data.search_length, config.data.clicks = 5, 4, 2
    config.model.width = 8
    for key, value in changes.items():
        group, name = key.split("__")
        config[group][name] = value
    return config


@pytest.mark.parametrize("scorer", ["dot", "dot_mlp"])
def test_catalogue_scores_equal_candidate_scores(scorer, dataset, build_batch):
    task = build(small_config(model__scorer=scorer), dataset)
    batch = build_batch([3, 0, 5], [2, 3, 0])
    batch["negatives"] = batch["negatives"].at[0, 1].set(0)
    params, constants = jax.jit(task.init)(jax.random.key(0), batch)
    items = jnp.arange(1, ITEMS + 1)
    catalogue = jax.jit(task.score_catalogue)(params, constants, batch, items)
    scores = np.asarray(jax.jit(task.score)(params, constants, batch))
    assert catalogue.shape == (3, ITEMS)
    assert scores[0, 2] == -np.inf  # a padding candidate
    own = np.asarray(catalogue)[np.arange(3), np.asarray(batch["target"]) - 1]
    np.testing.assert_allclose(own, scores[:, 0], rtol=1e-5, atol=1e-6)


def test_explain_gives_the_evidence(dataset, build_batch):
    task = build(small_config(), dataset)
    batch = build_batch([3, 0], [2, 4])
    params, constants = jax.jit(task.init)(jax.random.key(0), batch)
    told = jax.jit(task.explain)(params, constants, batch)
    assert {name: value.shape for name, value in told.items()} == {
        "evidence": (2, 3, 2, 5),
        "mean_evidence": (2, 5),
        "gates": (2, 3),
        "state_norms": (2, 4),
    }
    np.testing.assert_allclose(told["evidence"].mean(axis=(1, 2)), told["mean_evidence"], rtol=1e-6)


def test_negatives_drawn_by_popularity_are_corrected_by_it(dataset, build_batch):
    task = build(small_config(), dataset)
    batch = build_batch([1], [1])
    constants = jax.jit(lambda key: task.init(key, batch)[1])(jax.random.key(0))
    counts = np.bincount(dataset.events("rec").target[:400], minlength=ITEMS + 1)
    seen = np.flatnonzero(counts)
    np.testing.assert_allclose(
        constants["log_popularity"][seen], np.log(counts[seen] / 400), rtol=1e-5
    )
    assert np.all(np.isfinite(constants["log_popularity"]))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"model__heads": 3}, "config.model.width = 8"),
        ({"loss__recommendation": "softmax"}, "config.loss.recommendation"),
        ({"loss__recommendation": "hinge"}, "config.loss.recommendation"),
        ({"train__negatives": 0}, "config.train.negatives"),
        ({"reasoner__steps": -1}, "config.reasoner.steps = -1"),
        ({"model__scorer": "mlp"}, "config.model.scorer"),
    ],
)
def test_settings_that_cannot_be_are_named(change, key, dataset):
    with pytest.raises(InputError, match=key.replace(".", r"\.")):
        build(small_config(**change), dataset)


def test_tiny_differs_from_the_base_in_values_only():
    def keys(tree):
        return {(k, n) for k, v in tree.items() if isinstance(v, dict) for n in v}

    assert keys(tiny.get_config().to_dict()) == keys(base.get_config().to_dict())
