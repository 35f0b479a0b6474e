"""What studies read out of the model."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from gensr_jax.scoring import score_candidates
from gensr_jax.states import encoder_gradient, read_states
from gensr_jax.tune import tune_terms


@pytest.mark.parametrize("head", ["two", "towers"])
def test_states_are_those_that_the_score_comes_from(make, head):
    module, params, constants, batch = make(head=head)

    def read(params):
        found = read_states(module, params, constants, batch)
        return found, score_candidates(module, params, constants, batch)

    found, scores = jax.jit(read)(params)
    np.testing.assert_allclose(found.difference, scores, rtol=1e-5, atol=1e-6)
    rows, width = scores.shape, module.settings.t5.width
    assert found.tokens.shape == (*rows, 4, width)
    assert found.state.shape == (*rows, width)
    if head == "two":
        answers = np.asarray(found.state) @ np.asarray(params["answers"])
        np.testing.assert_allclose(answers[..., 0] - answers[..., 1], scores, rtol=1e-4, atol=1e-5)


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
