"""The soft filter in its three forms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gensr_jax.soft_filter import SoftFilter, xavier_3d

B, C, E, W = 2, 3, 5, 8


@pytest.fixture
def case():
    keys = jax.random.split(jax.random.key(0), 2)
    candidates = jax.random.normal(keys[0], (B, C, W))
    entries = jax.random.normal(keys[1], (B, E, W))
    mask = jnp.arange(E) < jnp.array([[3], [5]])
    return candidates, entries, mask


def run(kind, case, **options):
    module = SoftFilter(W, 2, kind, **options)
    params = module.init(jax.random.key(1), *case)
    return params, *module.apply(params, *case)


@pytest.mark.parametrize("kind", ["mca", "bilinear", "mean"])
def test_weights_cover_the_visible_entries(kind, case):
    _, mixed, weights = run(kind, case)
    assert mixed.shape == (B, C, W)
    assert weights.dtype == jnp.float32
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)
    assert not np.any(weights[0, :, 3:])


def test_mca_by_head(case):
    """Written out with loops, one head after the other."""
    params, mixed, weights = run("mca", case)
    candidates, entries, mask = (np.asarray(part, np.float64) for part in case)
    p = {name: np.asarray(array, np.float64) for name, array in params["params"].items()}
    for b in range(B):
        for c in range(C):
            heads, shares = [], np.zeros(E)
            for h in range(2):
                part = slice(4 * h, 4 * h + 4)
                logit = [
                    (candidates[b, c] @ p["query"])[part] @ (entries[b, e] @ p["key"])[part] / 2
                    for e in range(E)
                ]
                share = np.where(mask[b] > 0, np.exp(logit), 0)
                share /= share.sum()
                shares += share / 2
                heads.append(share @ (entries[b] @ p["value"])[:, part])
            np.testing.assert_allclose(mixed[b, c], np.concatenate(heads) @ p["out"], rtol=1e-4)
            np.testing.assert_allclose(weights[b, c], shares, rtol=1e-4, atol=1e-7)


def test_bilinear_is_h_w_y_without_values(case):
    params, mixed, _ = run("bilinear", case)
    form = params["params"]["form"]
    logits = jnp.einsum("bew,wv,bcv->bce", case[1], form, case[0])
    share = jax.nn.softmax(jnp.where(case[2][:, None], logits, -1e16))
    np.testing.assert_allclose(mixed, jnp.einsum("bce,bew->bcw", share, case[1]), rtol=1e-4)


def test_mean_ignores_the_candidate(case):
    _, mixed, _ = run("mean", case)
    np.testing.assert_allclose(mixed[0], jnp.tile(case[1][0, :3].mean(axis=0), (C, 1)), rtol=1e-5)


def test_empty_history_is_finite(case):
    candidates, entries, mask = case
    module = SoftFilter(W, 2)
    params = module.init(jax.random.key(1), *case)

    def total(entries):
        return module.apply(params, candidates, entries, jnp.zeros_like(mask))[0].sum()

    value, grad = jax.value_and_grad(total)(entries)
    assert value == 0
    assert not np.any(grad)


@pytest.mark.parametrize(("width", "deviation"), [(64, 0.0219), (768, 0.0018)])
def test_released_init_is_nearly_zero(width, deviation):
    drawn = xavier_3d(jax.random.key(0), (width, width))
    assert drawn.std() == pytest.approx(deviation, rel=0.03)


def test_scores_do_not_depend_on_other_candidates(case):
    params, mixed, _ = run("mca", case)
    alone, _ = SoftFilter(W, 2).apply(params, case[0][:, 1:2], *case[1:])
    # One rounding of float32 near 1: sums of another shape may be added in another order.
    np.testing.assert_allclose(mixed[:, 1:2], alone, rtol=1e-6, atol=2**-24)
