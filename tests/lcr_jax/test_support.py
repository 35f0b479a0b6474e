"""The prior of the evidence against values worked by hand."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lcr_jax.support import FADING, SHARPNESS, Support

REC = jnp.array([[[2.0, 0.0], [0.0, 3.0], [9.0, 9.0]], [[1.0, 1.0], [5.0, 5.0], [5.0, 5.0]]])
MASK = jnp.array([[True, True, False], [False, False, False]])
RANK = jnp.array([[4, 0, 6], [6, 6, 6]])
SEARCHES = jnp.array([[[1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]] * 2)


@pytest.fixture
def support():
    module = Support(2)
    params = module.init(jax.random.key(0), REC, MASK, RANK, SEARCHES)
    params["params"]["null"] = jnp.float32(0.7)
    return lambda rec, searches: module.apply(params, rec, MASK, RANK, searches)


def test_support_by_hand(support):
    got = support(REC, SEARCHES)
    old, new = np.exp(-4 * FADING), 1.0
    expected = [
        0.7,
        np.log((np.exp(SHARPNESS) * old + new) / 2),  # the older event is like the search
        np.log((old + np.exp(-SHARPNESS) * new) / 2),  # the newer one is its opposite
        np.log((old + new) / 2),
    ]
    np.testing.assert_allclose(got[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(got[1], 0)  # no rec event: nothing to say


def test_pads_and_zero_vectors_have_no_part(support):
    dirty = jnp.where(MASK[..., None], REC, -7.0)
    np.testing.assert_array_equal(support(dirty, SEARCHES), support(REC, SEARCHES))
    gradient = jax.grad(lambda rec, s: support(rec, s).sum(), argnums=(0, 1))(REC, SEARCHES)
    assert all(np.isfinite(part).all() for part in gradient)
    assert not gradient[0][~MASK].any()
    assert gradient[0][0, 0].any()
