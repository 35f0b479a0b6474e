"""Steps: models trained with other numbers of steps K, and one model read after each step k <= K.

The first says what K is worth, the second what the steps of one model add: its score then comes
from r_k. Figures of trained models are those of their results.json and ranks.parquet.

Shapes: [n] test rows
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.errors import InputError
from common.ranking.evidence import FIGURES
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import RankTable
from common.report.pictures import draw_intervals, open_figure, plain
from common.report.tables import format_bounds, format_markdown
from common.runs.evidence import weigh_evidence
from common.runs.folder import RunFolder
from common.runs.measures import (
    Measured,
    Request,
    bound,
    bound_change,
    join_bounds,
    load_run,
    make_ranker,
    measure_methods,
)
from common.runs.methods import find_method
from common.runs.ranked import read_ranked

METRIC = "NDCG@10"
Evidence = list[dict[str, Any]]  # one entry per seed: {figure: {value, low, high}}


def measure(request: Request) -> dict[str, Any]:
    """{"trained": {name: entry}, "readout": {"method", "steps": {k: entry}} or None}.

    An entry has "K" or "k", NDCG@10 {value, low, high}, "change" (paired, against the smallest
    K, or against k = K; absent there) and "evidence" {figure: {value, low, high}} where the data
    has planted truth: means over seeds of the value, the lowest and the highest bound.
    `request.readout` names the method to read; default: the first with K >= 1.
    Raises InputError for a run without `config.reasoner.steps`.
    """
    steps = {run.name: _count_steps(run) for run in request.runs}
    readout = request.readout or next((name for name, k in steps.items() if k), None)
    if request.readout is not None and not steps.get(request.readout):
        raise InputError(
            f"--readout={request.readout}: no run of --runs with at least one step; "
            f"the runs are {', '.join(steps)}"
        )
    weights: dict[str, Evidence] = {}
    measured = measure_methods(request, lambda run: _read_results(run, weights))
    names = sorted(measured, key=lambda name: steps[name])
    trained = {
        name: {"K": steps[name], **_enter(measured, name, names[0], weights, request.seed)}
        for name in names
    }
    found = (
        None
        if readout is None
        else _measure_readout(request, readout, steps[readout], readout in weights)
    )
    return {"trained": trained, "readout": found}


def _count_steps(run: RunFolder) -> int:
    try:
        return int(run.config.reasoner.steps)
    except AttributeError:
        raise InputError(
            f"--runs: {run.name} has no config.reasoner.steps; leave it out of the study of steps"
        ) from None


def _read_results(run: RunFolder, weights: dict[str, Evidence]) -> Measured:
    """A run's own ranks; its evidence figures are added to `weights`."""
    found = read_ranked(run.workdir, "rec", "full")
    if "evidence" in found.results:
        weights.setdefault(run.name, []).append(found.results["evidence"]["model"])
    return _gain(found.table)


def _gain(table: RankTable) -> Measured:
    values = metrics_from_ranks(table.rank_low, table.rank_high)
    return Measured(table.row, table.user, {METRIC: values[METRIC]})


def _measure_readout(request: Request, name: str, steps: int, has_evidence: bool) -> dict[str, Any]:
    """Reads every seed of one method after each of its steps."""
    runs = [run for run in request.runs if run.name == name]
    narrowed = request._replace(runs=runs)
    weights: dict[str, Evidence] = {}
    measured = {}
    for k in range(steps + 1):

        def read(run: RunFolder, k: int = k) -> Measured:
            build = find_method(run.config.method).build
            task = build(run.config, request.dataset, read_step=k)
            trained = load_run(request, run, task)
            if has_evidence:
                report = weigh_evidence(
                    *trained, request.dataset, request.mesh, request.batch_size, request.seed,
                    swaps=0,
                )  # fmt: skip
                weights.setdefault(str(k), []).append(report["model"])
            return _gain(make_ranker(request, run, trained)(None))

        measured[str(k)] = measure_methods(narrowed, read)[name]
    entries = {
        k: {"k": int(k), **_enter(measured, k, str(steps), weights, request.seed)} for k in measured
    }
    return {"method": name, "steps": entries}


def _enter(
    measured: dict[str, Measured],
    name: str,
    reference: str,
    weights: dict[str, Evidence],
    seed: int,
) -> dict[str, Any]:
    found = measured[name]
    entry: dict[str, Any] = {METRIC: bound(found.user, found.columns[METRIC], seed)}
    if name != reference:
        before = measured[reference].columns[METRIC]
        entry["change"] = bound_change(found.user, before, found.columns[METRIC], seed)
    seeds = weights.get(name, [])
    if seeds and all(seed[figure]["value"] is not None for seed in seeds for figure in FIGURES):
        entry["evidence"] = {
            figure: join_bounds([seed[figure] for seed in seeds]) for figure in FIGURES
        }
    return entry


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = ["method", "K", METRIC, "minus the smallest K", *FIGURES]
    rows = [[name, str(entry["K"]), *_cells(entry)] for name, entry in results["trained"].items()]
    text = format_markdown(head, rows)
    if results["readout"]:
        head = ["read after", METRIC, "minus the last step", *FIGURES]
        rows = [[f"step {k}", *_cells(entry)] for k, entry in results["readout"]["steps"].items()]
        text += f"\n{results['readout']['method']}, read after each of its steps:\n\n"
        text += format_markdown(head, rows)
    return text


def _cells(entry: dict[str, Any]) -> list[str]:
    evidence = [format_bounds(entry.get("evidence", {}).get(figure), 3) for figure in FIGURES]
    return [format_bounds(entry[METRIC]), format_bounds(entry.get("change"), sign=True), *evidence]


def draw(path: Path, results: dict[str, Any]) -> None:
    """NDCG@10 and auc_pair_age over the number of steps. Raises InputError without matplotlib."""
    curves = [("trained with K steps", [(e["K"], e) for e in results["trained"].values()])]
    if results["readout"]:
        name, entries = results["readout"]["method"], results["readout"]["steps"]
        curves.append((f"{name}, read after step k", [(e["k"], e) for e in entries.values()]))
    has_evidence = any("evidence" in e for _, points in curves for _, e in points)
    title = f"Reasoning steps: {results['dataset']['name']}"
    with open_figure(path, 9.6 if has_evidence else 5.2, 3.7, title) as figure:
        panels = figure.subplots(1, 2 if has_evidence else 1, squeeze=False)[0]
        for number, (label, points) in enumerate(curves):
            _plot(panels[0], number, label, [(at, e[METRIC]) for at, e in points])
            if has_evidence:
                known = [(at, e["evidence"]["auc_pair_age"]) for at, e in points if "evidence" in e]
                _plot(panels[1], number, label, known)
        panels[0].set_ylabel(f"{METRIC}, full catalogue")
        panels[0].legend(fontsize=8)
        if has_evidence:
            panels[1].axhline(0.5, color="black", linestyle=":", linewidth=0.9)
            panels[1].set_ylabel("auc_pair_age (dotted: chance)")
        most = max(at for _, points in curves for at, _ in points)
        for panel in panels:
            panel.set_xticks(range(most + 1))
            panel.set_xlabel("reasoning steps")


def _plot(panel: Any, number: int, label: str, points: list[tuple[int, dict[str, Any]]]) -> None:
    at = [x + 0.06 * number for x, _ in points]  # bars do not hide each other
    entries = [entry for _, entry in points]
    draw_intervals(panel, at, entries, number, upright=True,
                   linestyle="-" if number else "--", label=plain(label))  # fmt: skip
