"""Values with intervals stand where they should, and what has no value is left out."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from common.report.pictures import draw_intervals, open_figure

ENTRIES = [
    {"value": 0.3, "low": 0.1, "high": 0.4},
    {"value": None, "low": None, "high": None},
    {"value": 0.6, "low": 0.5, "high": 0.9},
]


@pytest.mark.parametrize("upright", [False, True])
@pytest.mark.parametrize("bar", [0.0, 0.25])
def test_intervals_stand_at_their_places(upright, bar, tmp_path):
    path = tmp_path / "intervals.png"
    with open_figure(path, 3, 2, "a title of 5 $") as figure:
        panel = figure.subplots()
        draw_intervals(panel, [0, 1, 2], ENTRIES, 7, upright=upright, bar=bar)
        lines = panel.collections[0].get_segments()
    expected = np.array([[[0, 0.1], [0, 0.4]], [[2, 0.5], [2, 0.9]]])
    np.testing.assert_allclose(lines, expected if upright else expected[..., ::-1])
    assert figure.get_suptitle() == r"a title of 5 \$"
    assert path.read_bytes().startswith(b"\x89PNG")
