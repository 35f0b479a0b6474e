"""The discriminative twin: one encoder, a head for each task."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from gensr_jax.scoring import score_candidates
from gensr_jax.tune import tune_terms


def score(case, params, batch=None):
    run = jax.jit(lambda p, b: score_candidates(case.module, p, case.constants, b))
    return np.asarray(run(params, batch or case.batch))


def test_each_task_has_a_head_of_its_own_and_one_encoder(make):
    case = make(head="towers")
    before = score(case, case.params)
    heads = dict(case.params["towers"])
    heads["search_outer"] = jax.tree.map(lambda leaf: leaf + 1.0, heads["search_outer"])
    after = score(case, {**case.params, "towers": heads})
    np.testing.assert_array_equal(after[0], before[0])  # the rec list
    assert np.all(np.abs(after[1:] - before[1:]) > 0.1)
    assert set(case.params["t5"]) == {"encoder", "shared"}  # no decoder


def test_task_is_told_by_the_head_alone(make):
    case = make(head="towers")
    other = case.batch | {"task": 1 - case.batch["task"]}
    assert np.all(np.abs(score(case, case.params, other) - score(case, case.params)) > 1e-4)
    generative = make()
    np.testing.assert_array_equal(
        score(generative, generative.params, other), score(generative, generative.params)
    )


def test_state_is_the_mean_of_the_encoders_output(make):
    """A prompt of other pads has the same mean."""
    case = make(head="towers")
    wide = {
        name: jnp.pad(case.constants[name], ((0, 0), (0, 4)), constant_values=value)
        for name, value in (("prompt_tok", 0), ("prompt_slot", -1), ("prompt_mask", False))
    }
    widened = case._replace(constants=case.constants | wide)
    np.testing.assert_allclose(
        score(widened, case.params), score(case, case.params), rtol=1e-5, atol=1e-6
    )


def test_gradient_of_one_task_leaves_the_others_head_alone(make, loss_settings):
    case = make(head="towers")

    def task_rec(params):
        def terms(model):
            return tune_terms(model, loss_settings, case.constants, case.batch, True)

        return case.module.apply({"params": params}, method=terms)[1]["task_rec"]

    grads = jax.grad(task_rec)(case.params)["towers"]
    assert np.any(grads["rec_outer"]["kernel"])
    assert not np.any(grads["search_outer"]["kernel"])
