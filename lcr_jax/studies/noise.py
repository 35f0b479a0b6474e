"""Noise: searches of other users are put into every test row's history.

For each share rho a row with n searches gets ceil(rho * n) searches drawn from all those of other
users (`common.data.edits.inject_searches`), the same for all methods. The memory is twice as wide
as in training, so no real search falls out; older events share the oldest recency place.

Shapes: [n] test rows
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from common.data.batches import evaluation_source
from common.data.edits import inject_searches, is_injected, pool_searches
from common.errors import InputError
from common.ranking.intervals import compare_columns
from common.ranking.metrics import metrics_from_ranks
from common.report.pictures import COLORS, draw_intervals, open_figure, plain
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
from common.runs.tasks import build_task
from common.runs.trained import Trained

SHARES = (0.0, 0.25, 0.5, 1.0)
METRICS = ("NDCG@10", "NDCG@5")


def measure(request: Request) -> dict[str, Any]:
    """{"shares", "methods": {name: {share: entry}}, "against": {name: {share: entry}}}.

    An entry of "methods" has, per metric, {value, low, high}; from the first injection on also
    the paired drop against share 0 ({value, low, high, relative, p}); "mass" (of evidence, on
    injected searches), "count_share" (of injected ones among all, the null event included) and
    "excess", their difference. "against" pairs the first method with each other one: "drops", the
    difference of their drops in NDCG@10, and "half": drop - half of the other's drop. A "half"
    below 0 says that the first method loses less than half of what the other loses.
    """
    _check_views(request)
    measured = measure_methods(request, lambda run: _measure_run(request, run))
    methods = {name: _summarize(found, request.seed) for name, found in measured.items()}
    first, *others = measured
    against = {name: _compare(measured[first], measured[name], request.seed) for name in others}
    return {"shares": list(SHARES), "first": first, "methods": methods, "against": against}


def widen(settings: Any) -> Any:
    """The settings of the same model with room for twice the searches."""
    data = settings.data
    if not hasattr(data, "search_length"):
        return settings
    if not getattr(settings.model, "places", 1):
        places = data.rec_length + data.search_length
        settings = replace(settings, model=replace(settings.model, places=places))
    return replace(settings, data=replace(data, search_length=2 * data.search_length))


def _check_views(request: Request) -> None:
    """Methods that read searches must read the same ones: the injected depend on the window."""
    readers = [run for run in request.runs if hasattr(run.config.data, "search_length")]
    for run in readers[1:]:
        for key in ("rec_length", "search_length", "clicks"):
            ours, theirs = (getattr(r.config.data, key) for r in (readers[0], run))
            if ours != theirs:
                raise InputError(
                    f"--runs: config.data.{key} is {ours} in {readers[0].name} and {theirs} in "
                    f"{run.name}; noise compares models that read the same events"
                )


def _open_wide(request: Request, run: RunFolder) -> Trained:
    """A model with 2 N search slots, whose task gathers N searches: the edit adds the others."""
    view = build_task(run.config, request.dataset).view
    task = build_task(widen(run.config), request.dataset)
    trained = load_run(request, run, task)
    return trained._replace(task=task._replace(view=replace(view, negatives=0)))


def _measure_run(request: Request, run: RunFolder) -> Measured:
    trained = _open_wide(request, run)
    view = trained.task.view
    rank = make_ranker(request, run, trained)
    pool = pool_searches(request.dataset.timeline, view.clicks)
    weigh = make_weigher(*trained, request.mesh) if trained.task.explain else None
    columns: Columns = {}
    for share in SHARES:
        draws = request.draws if share else 1
        for draw in range(draws):
            edit = partial(inject_searches, pool=pool, share=share, seed=request.seed, draw=draw)
            table = rank(edit)
            found: Columns = metrics_from_ranks(table.rank_low, table.rank_high)
            found = {name: found[name] for name in METRICS}
            if share and weigh is not None:
                source = evaluation_source(request.dataset, view, table.row, request.batch_size)
                parts = []
                for step in range(len(source)):
                    batch = edit(source[step])
                    injected = is_injected(batch, pool)
                    mass = (weigh(batch)[:, 1:] * injected).sum(axis=1)
                    count = injected.sum(axis=1) / (1 + batch["search_mask"].sum(axis=1, dtype=int))
                    parts.append(np.stack([mass, count])[:, batch["valid"] != 0])
                found["mass"], found["count"] = np.concatenate(parts, axis=1)
            for name, values in found.items():
                key = f"{name} {share}"
                columns[key] = columns.get(key, 0.0) + values / draws
    return Measured(table.row, table.user, columns)


def _summarize(found: Measured, seed: int) -> dict[str, Any]:
    """One method's entries by share; means over draws."""
    entries: dict[str, Any] = {}
    for share in SHARES:
        entry: dict[str, Any] = {}
        for metric in METRICS:
            before, after = found.columns[f"{metric} 0.0"], found.columns[f"{metric} {share}"]
            entry[metric] = bound(found.user, after, seed)
            if share:
                pair = compare_columns(found.user, before[:, None], after[:, None], seed=seed)[0]
                entry[f"{metric} drop"] = {
                    "value": pair.difference,
                    "low": pair.low,
                    "high": pair.high,
                    "relative": pair.relative if pair.first else None,
                    "p": pair.p_value,
                }
        if f"mass {share}" in found.columns:
            mass, count = (found.columns[f"{name} {share}"] for name in ("mass", "count"))
            some = count > 0
            entry["rows_with_searches"] = int(some.sum())
            if some.any():
                user = found.user[some]
                entry["mass"] = bound(user, mass[some], seed)
                entry["count_share"] = float(count[some].mean())
                entry["excess"] = bound(user, (mass - count)[some], seed)
        entries[str(share)] = entry
    return entries


def _compare(first: Measured, other: Measured, seed: int) -> dict[str, Any]:
    """Drops of two methods side by side, by share."""
    entries = {}
    for share in SHARES[1:]:
        ours, theirs = (
            found.columns["NDCG@10 0.0"] - found.columns[f"NDCG@10 {share}"]
            for found in (first, other)
        )
        entries[str(share)] = {
            "drops": bound(first.user, ours - theirs, seed),
            "half": bound(first.user, ours - theirs / 2, seed),
            "ratio": float(ours.mean() / theirs.mean()) if theirs.mean() > 0 else None,
        }
    return entries


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = ["method", "injected", "NDCG@10", "change", "relative", "NDCG@5", "change",
            "evidence on injected", "their share of events"]  # fmt: skip
    rows = []
    for name, entries in results["methods"].items():
        for share, entry in entries.items():
            changes = [entry.get(f"{metric} drop") for metric in METRICS]
            relative = changes[0]["relative"] if changes[0] else None
            rows.append([
                name,
                f"{float(share):.0%}",
                format_bounds(entry["NDCG@10"]),
                format_bounds(changes[0], sign=True),
                "-" if relative is None else f"{relative:+.1%}",
                format_bounds(entry["NDCG@5"]),
                format_bounds(changes[1], sign=True),
                format_bounds(entry.get("mass"), 3),
                f"{entry['count_share']:.3f}" if "count_share" in entry else "-",
            ])  # fmt: skip
    text = format_markdown(head, rows)
    pairs = [
        [f"{results['first']} against {name}", f"{float(share):.0%}",
         format_bounds(entry["drops"], sign=True), format_bounds(entry["half"], sign=True),
         "-" if entry["ratio"] is None else f"{entry['ratio']:.2f}"]
        for name, entries in results["against"].items()
        for share, entry in entries.items()
    ]  # fmt: skip
    if pairs:
        head = ["drops in NDCG@10", "injected", "difference", "minus half of the other's", "ratio"]
        text += "\n" + format_markdown(head, pairs)
    return text


def draw(path: Path, results: dict[str, Any]) -> None:
    """NDCG@10 and the evidence on injected searches, by share. Raises InputError without
    matplotlib."""
    shares = results["shares"]
    title = f"Searches of other users injected at test time: {results['dataset']['name']}"
    with open_figure(path, 9.6, 3.9, title) as figure:
        left, right = figure.subplots(1, 2)
        for number, (name, entries) in enumerate(results["methods"].items()):
            points = [entries[str(share)]["NDCG@10"] for share in shares]
            at = 100 * np.array(shares) + 0.8 * number  # bars of two methods do not hide each other
            draw_intervals(left, at, points, number, upright=True, label=plain(name))
            masses = [(s, entries[str(s)]) for s in shares if "mass" in entries[str(s)]]
            if masses:
                right.plot(
                    [100 * share for share, _ in masses],
                    [entry["mass"]["value"] for _, entry in masses],
                    color=COLORS[number % len(COLORS)], marker="o", label=plain(name),
                )  # fmt: skip
                counts = [(100 * share, entry["count_share"]) for share, entry in masses]
        left.set_ylabel("NDCG@10, full catalogue")
        left.set_ylim(bottom=0)
        left.legend(fontsize=8)
        right.set_ylabel("evidence on injected searches")
        if right.lines:
            right.plot(
                *zip(*counts, strict=True),
                color="black",
                linestyle=":",
                label="their share of events",
            )
            right.set_ylim(bottom=0)
            right.legend(fontsize=8)
        for panel in (left, right):
            panel.set_xlabel("injected searches, % of the real ones")
            panel.set_xticks([100 * share for share in shares])
