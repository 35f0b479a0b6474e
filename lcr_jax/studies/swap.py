"""Swap: every user is fed what another user searched for (`common.data.edits.swap_searches`).

The weight of each slot is held against the user's own search of that slot. A model that weighs
searches by what they say then scores by chance; what stays above 0.5 does not come from them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.ranking.evidence import FIGURES
from common.report.pictures import draw_intervals, open_figure, plain
from common.report.tables import format_bounds, format_markdown
from common.runs.evidence import weigh_evidence
from common.runs.measures import Request, join_bounds, load_run

SCORERS = ("own", "swapped")


def measure(request: Request) -> dict[str, Any]:
    """{"methods": {name: {"own" or "swapped": {figure: {value, low, high}}}}}.

    "own": fed the user's searches. "swapped": mean over `request.draws` draws, the lowest and the
    highest bound of any; over seeds likewise.
    Raises InputError for runs without evidence, and for data without planted truth.
    """
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in request.runs:
        trained = load_run(request, run)
        if trained.task.explain is None:
            raise InputError(f"--runs: {run.name} gives searches no weights; leave it out")
        report = weigh_evidence(
            *trained, request.dataset, request.mesh, request.batch_size, request.seed,
            swaps=request.draws,
        )  # fmt: skip
        entry = found.setdefault(run.name, {name: [] for name in SCORERS})
        entry["own"].append(report["model"])
        entry["swapped"] += [report[name] for name in report if name.startswith("swapped")]
    methods = {
        name: {
            scorer: {figure: join_bounds([seed[figure] for seed in seeds]) for figure in FIGURES}
            for scorer, seeds in entry.items()
        }
        for name, entry in found.items()
    }
    return {"methods": methods}


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    rows = [
        [name, scorer, *(format_bounds(entry[scorer][figure], 3) for figure in FIGURES)]
        for name, entry in results["methods"].items()
        for scorer in SCORERS
    ]
    return format_markdown(["method", "fed searches", *FIGURES], rows)


def draw(path: Path, results: dict[str, Any]) -> None:
    """auc_pair_age with own and with swapped searches. Raises InputError without matplotlib."""
    methods = results["methods"]
    title = f"Fed another user's searches: {results['dataset']['name']}"
    with open_figure(path, 7.0, 1.7 + 0.5 * len(methods), title) as figure:
        panel = figure.subplots()
        for number, scorer in enumerate(SCORERS):
            entries = [entry[scorer]["auc_pair_age"] for entry in methods.values()]
            places = np.arange(len(methods)) + 0.2 * number - 0.1
            draw_intervals(panel, places, entries, number, linestyle="", label=f"{scorer} searches")
        panel.axvline(0.5, color="black", linestyle=":", linewidth=0.9)
        panel.set_yticks(range(len(methods)), [plain(name) for name in methods])
        panel.set_ylim(len(methods) - 0.5, -0.5)
        panel.set_xlabel("auc_pair_age (dotted: chance)")
        figure.legend(loc="outside right center", fontsize=8)
