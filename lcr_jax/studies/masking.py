"""Masking: the search with the most evidence is taken out, or a random one, or the one with least.

If evidence means what it says, the first hurts the true target more than the second, and the
second more than the third. Rows with at least two searches; the null event is never taken out.

Shapes: [B] batch  [N] searches  [n] test rows
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.data.batches import Batch, evaluation_source
from common.data.edits import drop_search
from common.data.hashing import MASK, draw_uniform
from common.errors import InputError
from common.precision import exact_products
from common.ranking.metrics import metrics_from_ranks
from common.report.pictures import draw_intervals, open_figure, plain
from common.report.tables import format_bounds, format_markdown
from common.runs.evidence import make_weigher
from common.runs.folder import RunFolder
from common.runs.measures import (
    Columns,
    Measured,
    Request,
    bound,
    load_run,
    make_ranker,
    measure_methods,
)
from common.training.mesh import put_batch

CHOICES = ("top", "random", "bottom")
MEASURES = ("score", "NDCG@10")


def measure(request: Request) -> dict[str, Any]:
    """{"rows", "methods": {name: entry}, "skipped": [names]}.

    An entry has per measure (the target's score, NDCG@10) the value "before", the "change" by
    each choice of `CHOICES`, the differences "top - random" and "random - bottom" (all {value,
    low, high}), and "faithful": whether top < random < bottom; "certain": whether both
    intervals exclude 0 as well. Raises InputError where no run has weights to go by.
    """
    measured = measure_methods(request, lambda run: _measure_run(request, run))
    if not measured:
        raise InputError(
            "--runs: none has evidence weights to go by (K = 0, or a method without evidence); "
            "give a run with reasoning steps"
        )
    methods = {name: _summarize(found, request.seed) for name, found in measured.items()}
    rows = len(next(iter(measured.values())).row)
    skipped = sorted({run.name for run in request.runs} - measured.keys())
    return {"rows": rows, "methods": methods, "skipped": skipped}


def choose_slots(
    weights: np.ndarray, batch: Batch, seed: int, draw: int = 0
) -> dict[str, np.ndarray]:
    """The slot that each choice takes out, int64 [B]; -1 in rows with fewer than two searches.

    weights: float [B, N], evidence of the searches. Of equal weights the oldest is taken.
    """
    real = batch["search_mask"] != 0
    count = real.sum(axis=1)
    uniform = draw_uniform(seed, MASK, batch["row"], draw)
    slots = {
        "top": np.where(real, weights, -np.inf).argmax(axis=1),
        "random": np.floor(uniform * count).astype(np.int64),  # pads are at the end
        "bottom": np.where(real, weights, np.inf).argmin(axis=1),
    }
    return {name: np.where(count >= 2, slot, -1) for name, slot in slots.items()}


def _measure_run(request: Request, run: RunFolder) -> Measured | None:
    trained = load_run(request, run)
    task, params, constants = trained
    if task.explain is None or getattr(getattr(run.config, "reasoner", None), "steps", 1) == 0:
        print(f"{run.name}: no evidence weights to go by; left out", file=sys.stderr)
        return None
    rank = make_ranker(request, run, trained)
    plain_ranks = rank(None)
    view = dataclasses.replace(task.view, negatives=0)
    source = evaluation_source(request.dataset, view, plain_ranks.row, request.batch_size)
    batches = [source[step] for step in range(len(source))]
    weigh = make_weigher(*trained, request.mesh)
    weights: dict[int, np.ndarray] = {}  # by test row, in the order of the window's slots
    for batch in batches:
        weights |= dict(zip(batch["row"].tolist(), weigh(batch)[:, 1:], strict=True))
    score = jax.jit(exact_products()(task.score))

    def drop(batch: Batch, choice: str, draw: int) -> Batch:
        own = np.stack([weights[row] for row in batch["row"].tolist()])
        return drop_search(batch, choose_slots(own, batch, request.seed, draw)[choice])

    def look(choice: str | None, draw: int = 0) -> Columns:
        """The target's score and NDCG@10 of every row after one choice."""

        def edit(batch: Batch) -> Batch:
            return batch if choice is None else drop(batch, choice, draw)

        scores = [
            np.asarray(score(params, constants, put_batch(request.mesh, edit(batch))))[:, 0][
                batch["valid"] != 0
            ]
            for batch in batches
        ]
        table = plain_ranks if choice is None else rank(edit)
        gain = metrics_from_ranks(table.rank_low, table.rank_high)["NDCG@10"]
        return {"score": np.concatenate(scores).astype(np.float64), "NDCG@10": gain}

    several = np.concatenate(
        [(b["search_mask"].sum(axis=1, dtype=int) >= 2)[b["valid"] != 0] for b in batches]
    )
    if not several.any():
        raise InputError(f"--runs: {run.name}: no test row has two searches; use another dataset")
    columns = {f"{name} before": values[several] for name, values in look(None).items()}
    for choice in CHOICES:
        draws = request.draws if choice == "random" else 1
        for draw in range(draws):
            for name, values in look(choice, draw).items():
                key = f"{name} {choice}"
                columns[key] = columns.get(key, 0.0) + values[several] / draws
    return Measured(plain_ranks.row[several], plain_ranks.user[several], columns)


def _summarize(found: Measured, seed: int) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for name in MEASURES:
        before = found.columns[f"{name} before"]
        change = {choice: found.columns[f"{name} {choice}"] - before for choice in CHOICES}
        gaps = {
            "top - random": bound(found.user, change["top"] - change["random"], seed),
            "random - bottom": bound(found.user, change["random"] - change["bottom"], seed),
        }
        entry[name] = {
            "before": bound(found.user, before, seed),
            "change": {
                choice: bound(found.user, values, seed) for choice, values in change.items()
            },
            **gaps,
            "faithful": all(gap["value"] < 0 for gap in gaps.values()),
            "certain": all(gap["high"] < 0 for gap in gaps.values()),
        }
    return entry


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = ["method", "measure", "before", *(f"without {choice}" for choice in CHOICES),
            "top - random", "random - bottom", "faithful"]  # fmt: skip
    rows = []
    for name, entry in results["methods"].items():
        for measure_name in MEASURES:
            found = entry[measure_name]
            verdict = "no"
            if found["faithful"]:
                verdict = "yes" if found["certain"] else "yes, not certain"
            cells = [format_bounds(found["change"][choice], sign=True) for choice in CHOICES]
            gaps = [format_bounds(found[gap], sign=True)
                    for gap in ("top - random", "random - bottom")]  # fmt: skip
            before = format_bounds(found["before"])
            rows.append([name, measure_name, before, *cells, *gaps, verdict])
    text = f"{results['rows']:,} test rows with at least two searches.\n\n"
    text += format_markdown(head, rows)
    if results["skipped"]:
        text += f"\nLeft out, no weights to go by: {', '.join(results['skipped'])}.\n"
    return text


def draw(path: Path, results: dict[str, Any]) -> None:
    """Change of the target's score and of NDCG@10 by choice. Raises InputError without
    matplotlib."""
    methods = results["methods"]
    title = (
        f"One search taken out, by its evidence: {results['dataset']['name']}, "
        f"{results['rows']:,} rows"
    )
    with open_figure(path, 9.6, 2.0 + 0.55 * len(methods) + 0.9, title) as figure:
        for panel, name in zip(figure.subplots(1, 2, sharey=True), MEASURES, strict=True):
            for number, choice in enumerate(CHOICES):
                found = [entry[name]["change"][choice] for entry in methods.values()]
                places = np.arange(len(methods)) + 0.27 * (number - 1)
                draw_intervals(panel, places, found, number, bar=0.25, label=f"{choice} search")
            panel.axvline(0, color="black", linewidth=0.8)
            panel.set_yticks(range(len(methods)), [plain(m) for m in methods])
            panel.set_xlabel("change of " + ("the target's score" if name == "score" else name))
        figure.axes[0].invert_yaxis()
        handles, labels = figure.axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", fontsize=8, title="taken out")
