"""The evidence of one user as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.report.pictures import COLORS, LABEL, draw_heat, open_figure, plain
from common.report.words import say_target, shorten


def draw_evidence(path: Path, explanation: Mapping[str, Any]) -> None:
    """Heat map of evidence: searches (newest on top) and the null event x reasoning steps, with
    the mean as bars beside it. Raises InputError without matplotlib."""
    searches, steps = explanation["searches"][::-1], explanation["steps"]
    rows = [*searches, explanation["null_event"]]
    labels = [f"{shorten(s['query'], LABEL)}  ·  {s['age']}" for s in searches]
    labels.append("null event: nothing useful")
    means = np.array([row["evidence"]["mean"] for row in rows])
    grid = np.array([row["evidence"]["steps"] for row in rows]).reshape(len(rows), steps)
    top = max(grid.max(initial=0.0), means.max(), 1e-9)
    chars = max(len(label) for label in labels)
    width = max(3.0 + 0.075 * chars + 0.62 * steps + 2.6, 7.5)
    who = f"Evidence for user {explanation['user']} ({explanation['part']})"
    title = f"{who}\n{say_target(explanation, int(width * 12))}"
    with open_figure(path, width, 2.1 + 0.34 * len(rows), title) as figure:
        shares = [0.62 * steps + 0.8, 2.4]
        panels = figure.subplots(
            1, 2 if steps else 1, squeeze=False, width_ratios=None if not steps else shares
        )[0]
        bars = panels[-1]
        if steps:
            heat = panels[0]
            image = draw_heat(heat, grid, top)
            heat.set_xticks(range(steps), [f"{k + 1}" for k in range(steps)])
            heat.set_xlabel("reasoning step")
            figure.colorbar(image, ax=heat, label="evidence (mean over heads)", pad=0.03)
        panels[0].set_yticks(range(len(rows)), [plain(label) for label in labels], fontsize=8.5)
        colors = [COLORS[0]] * len(searches) + ["#888888"]
        bars.barh(np.arange(len(rows)), means, color=colors, height=0.72)
        bars.set_ylim(len(rows) - 0.5, -0.5)
        bars.set_xlim(0, means.max() * 1.22 + 1e-9)
        for row, value in enumerate(means):
            bars.text(value + means.max() * 0.02, row, f"{value:.2f}", va="center", fontsize=7.5)
        bars.axvline(1 / len(rows), color="black", linewidth=0.8, linestyle=":")
        bars.set_xlabel(
            "mean over steps (dotted: all equal)"
            if steps
            else "uniform: the model has no steps (K = 0)"
        )
        if steps:
            bars.set_yticks([])
        for panel in panels:
            panel.axhline(len(searches) - 0.5, color="black", linewidth=0.8)
        if not searches:
            bars.set_title("no searches before this moment", fontsize=9)
