"""Contrastive alignment: values, masks, and the size of the released one."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gensr_jax.alignment import contrast_views, normalise, published_contrast


def draw(rows, width=64):
    keys = jax.random.split(jax.random.key(0), 2)
    return (jax.random.normal(keys[0], (rows, width)), jax.random.normal(keys[1], (rows, width)))


def test_random_rows_give_the_logarithm_of_their_number():
    """200 rows: ln 200 = 5.30; the released order of norms gives about a thousand."""
    ours, theirs = draw(200, 768)
    ids, valid = jnp.arange(200), jnp.ones(200, bool)
    corrected = contrast_views(ours, theirs, 0.07, ids, ids, valid)
    assert corrected == pytest.approx(5.43, abs=0.1)
    norm = jnp.sqrt(768.0)  # what LayerNorm makes of a unit vector
    published = published_contrast(normalise(ours) * norm, normalise(theirs) * norm, 0.07, valid)
    assert 800 < published < 1300


def test_two_pairs_by_hand():
    ours = jnp.array([[1.0, 0.0], [0.0, 2.0]])
    theirs = jnp.array([[3.0, 0.0], [1.0, 1.0]])
    ids, valid = jnp.arange(2), jnp.ones(2, bool)
    half = 0.5**0.5
    logits = np.array([[1, half], [0, half]]) / 0.5
    forward = np.mean(np.log(np.exp(logits).sum(axis=1)) - np.diag(logits))
    backward = np.mean(np.log(np.exp(logits).sum(axis=0)) - np.diag(logits))
    value = contrast_views(ours, theirs, 0.5, ids, ids, valid)
    assert value == pytest.approx((forward + backward) / 2, rel=1e-5)


def test_same_user_and_same_item_are_no_negatives():
    ours, theirs = draw(4)
    user, item = jnp.array([1, 1, 2, 3]), jnp.array([5, 6, 5, 7])
    valid = jnp.ones(4, bool)

    def loss(theirs):
        return contrast_views(ours, theirs, 0.1, user, item, valid)

    # Rows 0, 1 and 2 have row 3 alone for a negative: swapping 1 and 2 for row 0 changes nothing.
    moved = contrast_views(ours, theirs.at[1].add(1.0), 0.1, user, item, valid)
    first = contrast_views(ours[:1], theirs[:1], 0.1, user[:1], item[:1], valid[:1])
    assert first == pytest.approx(0, abs=1e-6)
    assert moved != loss(theirs)  # row 1 itself counts
    pair = jnp.array([0, 3])
    two = contrast_views(ours[pair], theirs[pair], 0.1, user[pair], item[pair], valid[pair])
    assert np.isfinite(two)
    only = contrast_views(ours[:3], theirs[:3], 0.1, user[:3], jnp.array([5, 6, 5]), valid[:3])
    # Row 1 against row 2 is the one pair of strangers.
    strangers = contrast_views(ours[1:3], theirs[1:3], 0.1, user[1:3], item[1:3], valid[1:3])
    assert only == pytest.approx(float(strangers) * 2 / 3, rel=1e-5)


def test_twins_count_once_and_padding_not_at_all():
    ours, theirs = draw(3)
    ids = jnp.array([4, 5, 4])
    twice = contrast_views(ours, theirs, 0.1, ids, ids, jnp.ones(3, bool))
    once = contrast_views(ours[:2], theirs[:2], 0.1, ids[:2], ids[:2], jnp.ones(2, bool))
    padded = contrast_views(ours, theirs, 0.1, jnp.arange(3), ids, jnp.array([True, True, False]))
    assert twice == pytest.approx(float(once), rel=1e-6)
    assert padded == pytest.approx(float(once), rel=1e-6)
    assert contrast_views(ours, theirs, 0.1, ids, ids, jnp.zeros(3, bool)) == 0


def test_permuting_rows_changes_nothing():
    ours, theirs = draw(6)
    ids, valid = jnp.arange(6), jnp.ones(6, bool)
    order = jnp.array([3, 1, 5, 0, 4, 2])
    value = contrast_views(ours, theirs, 0.1, ids, ids, valid)
    again = contrast_views(ours[order], theirs[order], 0.1, ids[order], ids[order], valid)
    assert again == pytest.approx(float(value), rel=1e-6)


def test_zero_vectors_have_finite_gradients():
    grad = jax.grad(lambda x: normalise(x).sum())(jnp.zeros((2, 4)))
    assert np.all(np.isfinite(grad))
