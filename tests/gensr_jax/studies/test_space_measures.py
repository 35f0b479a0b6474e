"""Groups of points and masks."""

from __future__ import annotations

import numpy as np
import pytest

from gensr_jax.studies.space_measures import (
    RANDOM_OVERLAP,
    mask_largest,
    overlap,
    probe_groups,
    project,
    share_between,
    silhouette,
)

GROUPS = np.array([False, False, True, True])
LINE = np.array([[0.0], [2.0], [10.0], [12.0]])


def test_share_between_by_hand():
    """Deviations from 6: 36 + 16 + 16 + 36 = 104, of which 4 * 25 between the means 1 and 11."""
    assert share_between(LINE, GROUPS) == pytest.approx(100 / 104)
    assert share_between(np.zeros((4, 2)), GROUPS) == 0


def test_silhouette_by_hand():
    """Own distance 2; to the others 11, 9, 9, 11."""
    assert silhouette(LINE, GROUPS) == pytest.approx(1 - (2 / 11 + 2 / 9) / 2)
    assert silhouette(np.zeros((4, 2)), GROUPS) == 0


def test_masks_overlap_by_what_both_hold_over_what_either_holds():
    values = np.arange(100.0)
    mask = mask_largest(values)
    assert np.flatnonzero(mask).tolist() == [95, 96, 97, 98, 99]
    assert overlap(mask, mask) == 1
    assert overlap(mask, mask_largest(np.roll(values, 2))) == pytest.approx(3 / 7)
    rng = np.random.default_rng(0)
    drawn = [overlap(*(mask_largest(rng.random(2000)) for _ in range(2))) for _ in range(100)]
    assert np.mean(drawn) == pytest.approx(RANDOM_OVERLAP, abs=0.003)


def test_projection_keeps_distances_in_the_plane():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(20, 2))
    points = plane @ np.linalg.qr(rng.normal(size=(7, 2)))[0].T
    found, shares = project(points)
    assert sum(shares) == pytest.approx(1)
    apart = [np.linalg.norm(part[3] - part[8]) for part in (plane, found)]
    assert apart[0] == pytest.approx(apart[1])


def test_probe_is_judged_on_other_points():
    rng = np.random.default_rng(0)
    noise, fit = rng.normal(size=(400, 5)), np.tile([True, False], 200)
    groups = np.arange(400) >= 200
    assert probe_groups(noise, groups, fit) == pytest.approx(0.5, abs=0.1)
    assert probe_groups(noise + 8 * groups[:, None], groups, fit) == 1.0
