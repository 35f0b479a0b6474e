"""Plateau: how many examples does a model need before its task loss says that it has learned?

A constant answer is worth the entropy of the shares of Yes and No: 0.5004 nats at 1 : 4. The
released log stays there for four epochs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common.errors import InputError
from common.report.pictures import COLORS, open_figure, plain
from common.report.tables import format_markdown
from common.runs.folder import RunFolder
from common.runs.measures import Request
from common.runs.record import read_record

STAGE = "tune"
THRESHOLDS = (0.49, 0.45)
WINDOW = 3  # logged steps of the mean that is held against a threshold; a long one lags


def measure(request: Request) -> dict[str, Any]:
    """{"plateau", "window", "methods": {name: {"seeds": [entry], "curve": {"rows", "loss"}}}}.

    An entry has "rows" trained on in all, "last" loss, and for each threshold the rows (pairs of a
    list and a candidate) after which the mean task loss of the last `WINDOW` logged steps was below
    it, None where it never was. The curve is that running mean, averaged over seeds.
    Raises InputError for a run without a task loss in its logbook.
    """
    methods: dict[str, dict[str, Any]] = {}
    curves: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for run in request.runs:
        rows, loss = read_curve(run)
        entry: dict[str, Any] = {"rows": int(rows[-1]), "last": float(loss[-1])}
        for threshold in THRESHOLDS:
            below = np.flatnonzero(loss < threshold)
            entry[str(threshold)] = int(rows[below[0]]) if len(below) else None
        methods.setdefault(run.name, {"seeds": []})["seeds"].append(entry)
        curves.setdefault(run.name, []).append((rows, loss))
    for name, seeds in curves.items():
        shortest = min(len(rows) for rows, _ in seeds)
        methods[name]["curve"] = {
            "rows": seeds[0][0][:shortest].tolist(),
            "loss": np.mean([loss[:shortest] for _, loss in seeds], axis=0).tolist(),
        }
    share = 1 / (1 + int(request.runs[0].config.train.negatives))
    entropy = -share * np.log(share) - (1 - share) * np.log(1 - share)
    return {"plateau": float(entropy), "window": WINDOW, "methods": methods}


def read_curve(run: RunFolder) -> tuple[np.ndarray, np.ndarray]:
    """Rows seen, int64 [n], and the running mean of the task loss, float64 [n]."""
    record = read_record(run.workdir, STAGE, "train")
    loss = record.column("task")
    if len(loss) < WINDOW or np.isnan(loss).any():
        raise InputError(
            f"--runs: {run.name} has no curve of a task loss in metrics.jsonl; use runs of gensr "
            f"with at least {WINDOW} logged steps"
        )
    train = run.config.train
    rows = record.step * train.batch_size * (1 + train.negatives)
    mean = np.convolve(loss, np.full(WINDOW, 1 / WINDOW), mode="valid")
    return rows[WINDOW - 1 :], mean


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = ["method", *(f"rows until < {threshold}" for threshold in THRESHOLDS), "rows in all",
            "last loss"]  # fmt: skip
    rows = []
    for name, method in results["methods"].items():
        cells = [
            ", ".join(_count(entry[str(threshold)]) for entry in method["seeds"])
            for threshold in THRESHOLDS
        ]
        every = ", ".join(f"{entry['rows']:,}" for entry in method["seeds"])
        last = ", ".join(f"{entry['last']:.3f}" for entry in method["seeds"])
        rows.append([name, *cells, every, last])
    return format_markdown(head, rows)


def _count(rows: int | None) -> str:
    return "never" if rows is None else f"{rows:,}"


def draw(path: Path, results: dict[str, Any]) -> None:
    """The curves of the task loss. Raises InputError without matplotlib."""
    with open_figure(
        path, 6.4, 3.8, f"Leaving the plateau: {results['dataset']['name']}"
    ) as figure:
        panel = figure.subplots()
        for number, (name, method) in enumerate(results["methods"].items()):
            curve = method["curve"]
            panel.plot(curve["rows"], curve["loss"], color=COLORS[number % len(COLORS)],
                       linewidth=1.4, label=plain(name))  # fmt: skip
        panel.axhline(results["plateau"], color="black", linestyle=":", linewidth=0.9,
                      label=f"a constant answer: {results['plateau']:.4f}")  # fmt: skip
        losses = [
            loss for method in results["methods"].values() for loss in method["curve"]["loss"]
        ]
        panel.set_ylim(min(losses) - 0.03, min(max(losses), 0.75))
        panel.set_xscale("log")
        panel.set_xlabel("rows trained on (list, candidate)")
        panel.set_ylabel(f"task loss, mean of {results['window']} logged steps")
        panel.legend(fontsize=8, loc="upper right")
