"""A model read after k of its K steps is the model of its first k steps."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.mark.parametrize("k", [0, 1, 2])
def test_the_first_steps_are_kept(k, build_model, build_batch):
    batch = build_batch([3, 2, 0], [4, 1, 0])
    whole, cut = build_model(scorer="dot"), build_model(scorer="dot", read_step=k)
    _, expected = whole.run(batch)
    scores, found = cut.run(batch, whole.params)
    np.testing.assert_array_equal(found.states, expected.states[:, : k + 1])
    np.testing.assert_array_equal(found.evidence, expected.evidence[:, :k])
    np.testing.assert_allclose(found.mean_evidence.sum(axis=1), 1, rtol=1e-6)
    if k:
        mean = expected.evidence[:, :k].mean(axis=(1, 2))
        np.testing.assert_allclose(found.mean_evidence, mean, rtol=1e-6)
    else:
        uniform = [[0.2] * 5, [0.5, 0.5, 0, 0, 0], [1, 0, 0, 0, 0]]
        np.testing.assert_allclose(found.mean_evidence, uniform, rtol=1e-6)
    last, _ = whole.run(batch)
    same = np.array_equal(scores, last)
    assert same == (k == 2), "scores come from the state after step k"


def test_a_step_that_is_not_there_is_refused(build_model, build_batch):
    with pytest.raises(ValueError, match="step 3: the model has the steps 0 to 2"):
        build_model(read_step=3).run(build_batch([1], [1]))
