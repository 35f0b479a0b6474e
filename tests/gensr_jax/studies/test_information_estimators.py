"""Estimators of information against values that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gensr_jax.studies.critic import CriticSettings, infonce_terms
from gensr_jax.studies.estimators import (
    entropy_of,
    fit_calibration,
    fit_whitening,
    gaussian_information,
    gaussian_terms,
    ksg_terms,
    label_terms,
)
from gensr_jax.studies.toy_information import draw_pairs, true_label_information

LABELS = np.tile([1.0, 0, 0, 0, 0], 400)
QUICK = CriticSettings(width=32, outputs=16, pairs=128, steps=100, look_every=10)


def label_bound(scores, labels=LABELS):
    return label_terms(fit_calibration(scores, labels), scores, labels).mean()


def test_entropy_of_one_in_five():
    assert entropy_of(LABELS) == pytest.approx(0.2 * math.log(5) + 0.8 * math.log(1.25))
    assert entropy_of(LABELS) == pytest.approx(0.5004, abs=1e-4)
    assert entropy_of(np.zeros(3)) == 0


def test_label_bound_of_a_constant_and_of_a_perfect_score():
    assert label_bound(np.full(2000, 7.0)) == pytest.approx(0, abs=1e-6)
    assert label_bound(5 - 3 * LABELS) == pytest.approx(entropy_of(LABELS), abs=1e-4)


def test_label_bound_undoes_a_wrong_level_and_temperature():
    """A high score is a positive in one of two rows, a low one never."""
    known = np.tile([1.0, 1, 0, 0, 0], 400)
    doubt = 0.4 * math.log(2)  # two of five rows are a coin flip
    for scale, shift in ((1, 0), (40, -3), (-0.1, 100)):
        found = label_bound(scale * known + shift)
        assert found == pytest.approx(entropy_of(LABELS) - doubt, abs=1e-3)


def test_label_bound_below_0_for_what_does_not_hold_on_other_rows():
    calibration = fit_calibration(LABELS, LABELS)
    assert label_terms(calibration, 1 - LABELS, LABELS).mean() < -1


def test_gaussian_information_of_a_constructed_covariance():
    """Two pairs of correlations 0.6 and 0.8: I = -1/2 (ln 0.64 + ln 0.36); scales do not matter."""
    cross = np.diag([0.6, 0.8])
    covariance = np.block([[np.eye(2), cross], [cross, np.eye(2)]])
    scales = np.diag([1.0, 5.0, 0.1, 3.0])
    true = -0.5 * (math.log(0.64) + math.log(0.36))
    assert gaussian_information(covariance, 2) == pytest.approx(true, abs=1e-12)
    assert gaussian_information(scales @ covariance @ scales, 2) == pytest.approx(true, abs=1e-12)


def test_gaussian_terms_have_no_bias_though_users_repeat():
    """12 x 12 dimensions from 400 users: without its correction the estimate is 0.2 too high."""
    rng = np.random.default_rng(0)
    first, second = draw_pairs(rng, 400, 12, 0.0)
    raw = gaussian_information(np.cov(np.concatenate([first, second], axis=1).T, bias=True), 12)
    users = np.arange(400)
    found = gaussian_terms(first, second, users, 100, 0)
    assert raw > 0.15
    assert abs(found.mean()) < 0.05
    thrice = [np.repeat(part, 3, axis=0) for part in (first, second)]
    same = gaussian_terms(*thrice, np.repeat(users, 3), 100, 0)
    np.testing.assert_allclose(same[::3], found, atol=1e-9)  # copies add nothing


def test_spread_of_gaussian_terms_is_the_error_of_the_estimate():
    rng = np.random.default_rng(1)
    found = [gaussian_terms(*draw_pairs(rng, 300, 2, 0.7), np.arange(300), 10, 0)
             for _ in range(200)]  # fmt: skip
    error = np.std([terms.mean() for terms in found])
    told = np.mean([terms.std() / math.sqrt(300) for terms in found])
    assert told == pytest.approx(error, rel=0.15)


@pytest.mark.parametrize(("width", "true"), [(1, 0.0), (1, 1.0), (2, 0.5)])
def test_neighbours_find_known_information(width, true):
    correlation = math.sqrt(-math.expm1(-2 * true / width))
    first, second = draw_pairs(np.random.default_rng(0), 1500, width, correlation)
    terms = ksg_terms(first, second)
    assert terms.mean() == pytest.approx(true, abs=0.08)
    bent = ksg_terms(np.exp(first), second)  # information does not depend on the scale
    assert bent.mean() == pytest.approx(true, abs=0.12)


def test_neighbours_by_hand():
    """Four points on a line, k = 1; of pairs (x, x) only strictly nearer points count."""
    points = np.array([[0.0], [1.0], [3.0], [7.0]])
    digamma = -0.5772156649 + np.array([0, 0, 1, 1.5, 1.5 + 1 / 3])  # of 1 at index 1
    expected = digamma[1] + digamma[4] - 2 * digamma[1]
    np.testing.assert_allclose(ksg_terms(points, points, 1), expected)
    with pytest.raises(ValueError, match="4 rows for 4 neighbours"):
        ksg_terms(points, points, 4)


def test_whitening_drops_directions_without_variance():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 2)) @ np.array([[3.0, 3, 0, 1], [0, 0, 0.5, 0]])
    white = fit_whitening(rows).apply(rows, 3)
    assert white.shape == (500, 2)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(2), atol=1e-9)


@pytest.mark.parametrize("true", [0.0, 0.6])
def test_infonce_stays_below_the_truth_and_near_it(true):
    rng = np.random.default_rng(0)
    correlation = math.sqrt(-math.expm1(-true))
    fit, report = (draw_pairs(rng, 2000, 2, correlation) for _ in range(2))
    terms, cap = infonce_terms(fit, np.arange(2000) % 5 == 0, report, 0, QUICK)
    assert cap == pytest.approx(math.log(128))
    assert len(terms) == 2000
    assert true - 0.15 < terms.mean() < true + 0.05


def test_infonce_never_shows_more_than_its_cap():
    rng = np.random.default_rng(0)
    fit, report = (draw_pairs(rng, 600, 8, 1.0) for _ in range(2))
    terms, cap = infonce_terms(fit, np.arange(600) % 5 == 0, report, 0, QUICK)
    assert 0.4 * cap < terms.mean() <= cap
    assert terms.max() <= cap + 1e-5


def test_information_of_a_label_by_quadrature():
    assert true_label_information(0.2, 0.0) == pytest.approx(0, abs=1e-6)
    assert true_label_information(0.2, 9.0) == pytest.approx(entropy_of(LABELS), abs=1e-4)
