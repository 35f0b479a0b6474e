"""The soft filter for one user as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.report.pictures import COLORS, LABEL, draw_heat, open_figure, plain
from common.report.words import say_target, say_title, shorten
from gensr_jax.explain_text import VIEWS, label_candidates


def draw_filter(path: Path, explanation: Mapping[str, Any]) -> None:
    """Heat maps of the soft filter, one per view: history (newest on top) and "no history" x
    candidates. Raises InputError without matplotlib."""
    history, views = explanation["history"], explanation["views"]
    rows = [*history, explanation["no_history"]]
    labels = [
        f"{shorten(say_title(entry), LABEL)}  ·  {entry['age']}"
        + ("  ·  search" if entry["service"] == "search" else "")
        for entry in history
    ]
    labels.append("no history")
    names = [
        f"{'target' if label == 'T' else label}\n{shorten(say_title(item), 16)}"
        for label, item in zip(
            label_candidates(explanation), explanation["candidates"], strict=True
        )
    ]
    grids = {view: np.array([row["weights"][view] for row in rows]) for view in views}
    top = max([1e-9, *(grid.max(initial=0.0) for grid in grids.values())])
    chars = max(len(label) for label in labels)
    width = max(2.2 + 0.075 * chars + 0.95 * max(len(names), 1) * len(views), 8.0)
    task = "search" if explanation["task"] == "search" else "recommendation"
    who = f"Soft filter for user {explanation['user']} ({task}, {explanation['part']})"
    if explanation["query"] is not None:
        who += f", query: {shorten(explanation['query'], 40)}"
    title = f"{who}\n{say_target(explanation, int(width * 12))}"
    with open_figure(path, width, 2.3 + 0.32 * len(rows), title) as figure:
        panels = figure.subplots(1, len(views), squeeze=False)[0]
        for panel, view in zip(panels, views, strict=True):
            image = draw_heat(panel, grids[view], top)
            panel.set_title(f"{VIEWS[view]} view", fontsize=9)
            panel.set_xticks(range(len(names)), [plain(name) for name in names], fontsize=7)
            panel.set_yticks([])
            panel.axhline(len(history) - 0.5, color="black", linewidth=0.8)
        panels[0].set_yticks(range(len(rows)), [plain(label) for label in labels], fontsize=8.5)
        for tick, entry in zip(panels[0].get_yticklabels(), history, strict=False):
            tick.set_color(COLORS[1] if entry["service"] == "search" else "black")
        figure.colorbar(
            image, ax=list(panels), label="share of the view (columns add up to 1)", pad=0.02
        )
