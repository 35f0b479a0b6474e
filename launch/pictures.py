"""Pictures with matplotlib, which is an extra: `pip install snr-jax[report]`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError, writing
from launch.explain_filter_text import VIEWS, label_candidates
from launch.explain_text import name_item, say_target, shorten

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito
_LABEL = 44  # characters of a row label


@contextmanager
def open_figure(path: Path, width: float, height: float) -> Iterator[Any]:
    """Gives an empty figure of that many inches; saves it beside `path`, then renames.

    Raises InputError where matplotlib is not installed, WriteError.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ImportError:
        raise InputError(
            f"{path.name}: matplotlib is not installed, so there is no picture (the texts are "
            "written); pip install snr-jax[report]"
        ) from None
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.08)
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)  # no display, and no state outside of this figure
    yield figure
    beside = path.with_name(path.name + ".tmp")
    with writing(path):
        figure.savefig(beside, format="png", dpi=140, facecolor="white")
        beside.replace(path)


def plain(text: str) -> str:
    """Text that is shown as it is: matplotlib reads dollar signs as mathematics."""
    return text.replace("$", r"\$")


def draw_evidence(path: Path, explanation: Mapping[str, Any]) -> None:
    """Heat map of evidence: searches (newest on top) and the null event x reasoning steps, with
    the mean as bars beside it. Raises InputError without matplotlib."""
    searches, steps = explanation["searches"][::-1], explanation["steps"]
    rows = [*searches, explanation["null_event"]]
    labels = [f"{shorten(s['query'], _LABEL)}  ·  {s['age']}" for s in searches]
    labels.append("null event: nothing useful")
    means = np.array([row["evidence"]["mean"] for row in rows])
    grid = np.array([row["evidence"]["steps"] for row in rows]).reshape(len(rows), steps)
    top = max(grid.max(initial=0.0), means.max(), 1e-9)
    chars = max(len(label) for label in labels)
    width = 3.0 + 0.075 * chars + 0.62 * steps + 2.6
    with open_figure(path, max(width, 7.5), 2.1 + 0.34 * len(rows)) as figure:
        shares = [0.62 * steps + 0.8, 2.4]
        panels = figure.subplots(
            1, 2 if steps else 1, squeeze=False, width_ratios=None if not steps else shares
        )[0]
        bars = panels[-1]
        if steps:
            heat = panels[0]
            image = heat.imshow(grid, cmap="Blues", vmin=0.0, vmax=top, aspect="auto")
            heat.set_xticks(range(steps), [f"{k + 1}" for k in range(steps)])
            heat.set_xlabel("reasoning step")
            for (row, column), value in np.ndenumerate(grid):
                color = "white" if value > 0.6 * top else "black"
                heat.text(
                    column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=color
                )
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
            panel.spines[["top", "right"]].set_visible(False)
            panel.axhline(len(searches) - 0.5, color="black", linewidth=0.8)
        if not searches:
            bars.set_title("no searches before this moment", fontsize=9)
        who = f"Evidence for user {explanation['user']} ({explanation['part']})"
        figure.suptitle(
            plain(f"{who}\n{say_target(explanation, int(max(width, 7.5) * 12))}"), fontsize=10
        )


def draw_filter(path: Path, explanation: Mapping[str, Any]) -> None:
    """Heat maps of the soft filter, one per view: history (newest on top) and "no history" x
    candidates. Raises InputError without matplotlib."""
    history, views = explanation["history"], explanation["views"]
    rows = [*history, explanation["no_history"]]
    labels = [
        f"{shorten(name_item(entry), _LABEL)}  ·  {entry['age']}"
        + ("  ·  search" if entry["service"] == "search" else "")
        for entry in history
    ]
    labels.append("no history")
    names = [
        f"{'target' if label == 'T' else label}\n{shorten(name_item(item), 16)}"
        for label, item in zip(
            label_candidates(explanation), explanation["candidates"], strict=True
        )
    ]
    grids = {view: np.array([row["weights"][view] for row in rows]) for view in views}
    top = max([1e-9, *(grid.max(initial=0.0) for grid in grids.values())])
    chars = max(len(label) for label in labels)
    width = max(2.2 + 0.075 * chars + 0.95 * max(len(names), 1) * len(views), 8.0)
    with open_figure(path, width, 2.3 + 0.32 * len(rows)) as figure:
        panels = figure.subplots(1, len(views), squeeze=False)[0]
        for panel, view in zip(panels, views, strict=True):
            grid = grids[view]
            image = panel.imshow(grid, cmap="Blues", vmin=0.0, vmax=top, aspect="auto")
            for (row, column), value in np.ndenumerate(grid):
                panel.text(
                    column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5,
                    color="white" if value > 0.6 * top else "black",
                )  # fmt: skip
            panel.set_title(f"{VIEWS[view]} view", fontsize=9)
            panel.set_xticks(range(len(names)), [plain(name) for name in names], fontsize=7)
            panel.set_yticks([])
            panel.spines[["top", "right"]].set_visible(False)
            panel.axhline(len(history) - 0.5, color="black", linewidth=0.8)
        panels[0].set_yticks(range(len(rows)), [plain(label) for label in labels], fontsize=8.5)
        for tick, entry in zip(panels[0].get_yticklabels(), history, strict=False):
            tick.set_color(COLORS[1] if entry["service"] == "search" else "black")
        figure.colorbar(
            image, ax=list(panels), label="share of the view (columns add up to 1)", pad=0.02
        )
        task = "search" if explanation["task"] == "search" else "recommendation"
        who = f"Soft filter for user {explanation['user']} ({task}, {explanation['part']})"
        if explanation["query"] is not None:
            who += f", query: {shorten(explanation['query'], 40)}"
        figure.suptitle(plain(f"{who}\n{say_target(explanation, int(width * 12))}"), fontsize=10)
