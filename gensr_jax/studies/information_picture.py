"""The picture of the study `information`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.report.pictures import COLORS, draw_intervals, open_figure, plain

_MARKS = {"infonce": "o", "gaussian": "s", "ksg": "^"}
_SAY = {"infonce": "InfoNCE", "gaussian": "Gaussian", "ksg": "neighbours"}


def draw_information(
    path: Path, results: dict[str, Any], tasks: Sequence[str], measures: Sequence[str],
    names: dict[str, str],
) -> None:  # fmt: skip
    """Above: label bounds, the check, the toy. Below: I(X; h) of each task.

    Raises InputError without matplotlib.
    """
    methods = results["methods"]
    title = f"Information that inputs and states carry: {results['dataset']['name']}"
    with open_figure(path, 10.4, 6.0 + 0.16 * len(methods), title) as figure:
        panels = figure.subplot_mosaic(
            "AABBCC;DDDEEE", height_ratios=(1, 0.8 + 0.06 * len(methods))
        )
        _draw_label(panels["A"], results, tasks)
        _draw_check(panels["B"], results["check"]["pairs"])
        _draw_toy(panels["C"], results["toy"])
        for panel, task in zip((panels["D"], panels["E"]), tasks, strict=True):
            _draw_states(panel, results, task, [key for key in measures if key != "label"], names)
        panels["E"].set_yticklabels([])


def _draw_label(panel: Any, results: dict[str, Any], tasks: Sequence[str]) -> None:
    methods = results["methods"]
    width = 0.8 / len(methods)
    for number, (name, entry) in enumerate(methods.items()):
        found = [entry[task]["label"] for task in tasks]
        at = np.arange(len(tasks)) + width * (number - (len(methods) - 1) / 2)
        draw_intervals(panel, at, found, number, upright=True, bar=width * 0.92, label=plain(name))
    panel.axhline(results["entropy"], color="black", linestyle=":", linewidth=0.9)
    panel.set_xticks(range(len(tasks)), tasks)
    panel.set_ylim(0, 1.12 * results["entropy"])
    panel.set_ylabel("nats (dotted: all there is, H(Y))")
    panel.set_title("I(X; Y), label bound", fontsize=9)
    panel.legend(fontsize=8)


def _draw_check(panel: Any, cases: list[dict[str, Any]]) -> None:
    for number, (key, mark) in enumerate(_MARKS.items()):
        at = [case["true"] * 1.05 ** (number - 1) for case in cases]  # marks do not hide each other
        panel.plot(at, [case[key] for case in cases], mark, color=COLORS[number + 2],
                   label=_SAY[key], markersize=6, alpha=0.85)  # fmt: skip
    top = 1.6 * max(case["true"] for case in cases)
    panel.plot([0.3, top], [0.3, top], color="black", linewidth=0.8)
    panel.axhline(cases[0]["cap"], color=COLORS[2], linestyle=":", linewidth=0.9)
    panel.set_xscale("log")
    panel.set_yscale("log")
    ticks = [0.5, 1, 2, 4, 8]
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.set_ticks([], minor=True)
    panel.set_xlabel("true nats (2, 4, 16 and 16 dimensions)")
    panel.set_ylabel("estimate (dotted: InfoNCE's cap)")
    panel.set_title("check: Gaussian pairs", fontsize=9)
    panel.legend(fontsize=8)


def _draw_toy(panel: Any, curve: list[dict[str, float]]) -> None:
    angles = [point["angle"] for point in curve]
    for number, (key, label) in enumerate((("own", "a W per task"), ("shared", "one W for both"))):
        panel.plot(angles, [point[key] for point in curve], color=COLORS[number], marker="o",
                   markersize=3, label=label)  # fmt: skip
    panel.set_xticks([0, 30, 60, 90])
    panel.set_ylim(bottom=0)
    panel.set_xlabel("degrees between the tasks' weights")
    panel.set_ylabel("nats kept of a task's output")
    panel.set_title("toy: what a shared part costs", fontsize=9)
    panel.legend(fontsize=8)


def _draw_states(
    panel: Any, results: dict[str, Any], task: str, keys: Sequence[str], names: dict[str, str]
) -> None:
    methods = results["methods"]
    for number, (_, entry) in enumerate(methods.items()):
        found = [entry[task][key] for key in keys]
        at = np.arange(len(keys)) + 0.16 * (number - (len(methods) - 1) / 2)
        draw_intervals(panel, at, found, number, linestyle="", markersize=4.5)
    panel.axvline(results["cap"][task], ymin=1 - 1 / len(keys), color="black", linestyle=":")
    panel.set_yticks(range(len(keys)), [names[key].split(", ", 1)[1] for key in keys], fontsize=8)
    panel.set_ylim(len(keys) - 0.5, -0.5)
    panel.set_xlim(left=0)
    panel.grid(axis="x", linewidth=0.4)
    panel.set_xlabel(f"nats, {task} (dotted: the bound's cap)")
    panel.set_title(f"I(X; h), {task}", fontsize=9)
