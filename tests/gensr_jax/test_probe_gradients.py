"""Gradients of the single losses: by hand where that can be, and against the whole loss."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gensr_jax.probe import find_attention, measure_cosine, measure_length, probe_gradients
from gensr_jax.tune import tune_terms


@pytest.fixture(scope="module")
def figures(make):
    def probe(settings, head="two"):
        case = make(head=head)
        run = jax.jit(
            lambda p: probe_gradients(case.module, settings, p, case.constants, case.batch)
        )
        return {name: float(value) for name, value in run(case.params).items()}

    return probe


def gradient_of(case, settings, name):
    def loss(params):
        def terms(model):
            return tune_terms(model, settings, case.constants, case.batch, deterministic=True)

        return case.module.apply({"params": params}, method=terms)[1][name]

    return jax.grad(loss)(case.params)


def test_cosine_and_length_by_hand():
    first = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([[4.0]])}
    second = {"a": jnp.array([0.0, 5.0]), "b": jnp.array([[2.0]])}
    assert measure_length(first) == 5.0
    np.testing.assert_allclose(measure_cosine(first, second), 8 / (5 * 29**0.5), rtol=1e-6)
    assert measure_cosine(first, jax.tree.map(jnp.zeros_like, first)) == 0.0


@pytest.mark.parametrize("head", ["two", "towers"])
def test_figures_are_those_of_each_loss_alone(make, figures, loss_settings, head):
    case, found = make(head=head), figures(loss_settings, head)
    alone = {
        name: gradient_of(case, loss_settings, name)
        for name in ("task", "task_rec", "task_search", "contrastive")
    }
    for name, grad in alone.items():
        length = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(grad)))
        np.testing.assert_allclose(found[f"norm_{name}"], length, rtol=1e-4)

    def flat(name):
        layers = alone[name]["t5"]["encoder"]["layers"]["attention"]
        return np.concatenate([np.ravel(leaf[0]) for leaf in jax.tree.leaves(layers)])

    rec, search = flat("task_rec"), flat("task_search")
    cosine = rec @ search / np.linalg.norm(rec) / np.linalg.norm(search)
    np.testing.assert_allclose(found["cosine_encoder_1"], cosine, atol=1e-4)


def test_one_of_two_lists_makes_the_loss_of_both(make, loss_settings):
    """1 rec list and 2 search lists: the task loss is their mean over lists."""
    case = make()
    parts = [gradient_of(case, loss_settings, f"task_{name}") for name in ("rec", "search")]
    whole = jax.tree.map(lambda rec, search: (rec + 2 * search) / 3, *parts)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        whole,
        gradient_of(case, loss_settings, "task"),
    )


def test_layers_that_are_looked_at(make):
    params = make().params
    assert list(find_attention(params)) == ["encoder_1", "cf_view"]
    deep = {"t5": {"encoder": {"layers": {"attention": {"q": np.zeros((12, 2, 2))}}}}}
    assert list(find_attention(deep)) == ["encoder_1", "encoder_7", "encoder_12"]
