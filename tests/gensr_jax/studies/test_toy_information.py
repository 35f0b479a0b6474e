"""The linear-Gaussian toy: what one shared representation costs."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gensr_jax.studies.estimators import gaussian_information
from gensr_jax.studies.toy_information import ANGLES, compare_weights, information_kept, turn


def test_information_by_hand():
    """One output of variance 3 under noise 1: 1/2 ln 4. Of x1 + x2 only half is seen in x1."""
    own = information_kept(np.eye(1, 2), np.eye(1, 2), np.diag([3.0, 5.0]), 1.0)
    assert own == pytest.approx(0.5 * math.log(4))
    both = np.ones((1, 2))
    assert information_kept(np.eye(1, 2), both, np.eye(2), 1.0) == pytest.approx(
        0.5 * math.log(3 / 2)
    )


def test_information_is_that_of_the_joint_covariance():
    rng = np.random.default_rng(0)
    covariance = np.diag(1 / np.arange(1.0, 7))
    code, task = rng.normal(size=(2, 6)), rng.normal(size=(3, 6))
    whole = np.concatenate([code, task])
    joint = whole @ covariance @ whole.T + np.diag([0, 0, 0.5, 0.5, 0.5])
    assert information_kept(code, task, covariance, 0.5) == pytest.approx(
        gaussian_information(joint, 2)
    )


def test_weights_stand_at_their_angle():
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 6)))[0].T
    for angle in (0, 30, 90):
        rec, search = turn(frame, angle)
        np.testing.assert_allclose(rec @ search.T, math.cos(math.radians(angle)) * np.eye(3),
                                   atol=1e-12)  # fmt: skip
        np.testing.assert_allclose(search @ search.T, np.eye(3), atol=1e-12)


def test_a_shared_part_costs_more_the_less_the_tasks_have_in_common():
    curve = compare_weights(0)
    assert [point["angle"] for point in curve] == list(ANGLES)
    assert curve[0]["shared"] == pytest.approx(curve[0]["own"])
    loss = np.array([point["own"] - point["shared"] for point in curve])
    assert np.all(np.diff(loss) > 0)


def test_a_shared_part_with_room_for_both_costs_nothing():
    frame = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 6)))[0].T
    covariance = np.diag(1 / np.arange(1.0, 10))
    weights = turn(frame, 60)
    for own in weights:
        wide = information_kept(np.concatenate(weights), own, covariance, 0.1)
        assert wide == pytest.approx(information_kept(own, own, covariance, 0.1))
