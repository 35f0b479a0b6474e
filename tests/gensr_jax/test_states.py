"""What studies read out of the model."""

from __future__ import annotations

import jax
import numpy as np

from gensr_jax.scoring import score_candidates
from gensr_jax.states import encoder_gradient, read_states
from gensr_jax.tune import tune_terms


def test_answers_are_read_from_the_states(make):
    module, params, constants, batch = make()
    found = jax.jit(lambda p: read_states(module, p, constants, batch))(params)
    answers = np.asarray(found.state) @ np.asarray(params["answers"])
    np.testing.assert_allclose(
        answers[..., 0] - answers[..., 1], found.difference, rtol=1e-4, atol=1e-5
    )
    assert found.tokens.shape == (3, 3, 4, module.settings.t5.width)


def test_the_twin_is_read_in_the_same_way(make):
    module, params, constants, batch = make(head="towers")

    def read(params):
        found = read_states(module, params, constants, batch)
        return found.difference, score_candidates(module, params, constants, batch)

    difference, scores = jax.jit(read)(params)
    np.testing.assert_allclose(difference, scores, rtol=1e-5, atol=1e-6)


def test_encoder_gradient_is_that_of_one_task(make, loss_settings):
    """The gradient of the whole task loss, of one rec list and two of search, is their mean."""
    module, params, constants, batch = make()

    def total(params):
        def terms(model):
            return tune_terms(model, loss_settings, constants, batch, deterministic=True)

        return module.apply({"params": params}, method=terms)[1]["task"]

    def differentiate(params):
        parts = [
            encoder_gradient(module, loss_settings, params, constants, batch, task)
            for task in ("rec", "search")
        ]
        return *parts, jax.grad(total)(params)["t5"]["encoder"]

    rec, search, whole = (jax.tree.leaves(part) for part in jax.jit(differentiate)(params))
    for ours, theirs, both in zip(rec, search, whole, strict=True):
        np.testing.assert_allclose((ours + 2 * theirs) / 3, both, rtol=1e-4, atol=1e-7)
    assert not np.allclose(rec[0], search[0])
