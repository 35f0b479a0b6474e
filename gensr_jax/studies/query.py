"""Query: test searches are ranked again without their query, and with that of another search.

A model that reads the query must lose by it. One that never sees it, as the released code, ranks
the same.

Shapes: [n] test searches
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common.data.batches import Batch
from common.ranking.metrics import metrics_from_ranks
from common.ranking.protocols import FULL, make_evaluator
from common.report.pictures import draw_intervals, open_figure, plain
from common.report.tables import format_bounds, format_markdown
from common.runs.folder import RunFolder
from common.runs.measures import Measured, Request, bound, bound_change, measure_methods
from common.runs.tasks import build_task
from common.runs.trained import load_model
from common.training.mesh import put_batch
from gensr_jax.studies.generative import check_generative

METRIC = "NDCG@10"
ASKED = ("own", "none", "other")  # whose query a search is ranked with


def measure(request: Request) -> dict[str, Any]:
    """{"methods": {name: {protocol: {"own", "none" or "other": entry}}}}.

    An entry has NDCG@10 {value, low, high} and, but for "own", "change" {value, low, high, p}
    against it, paired over users; means over seeds. "other": mean over `request.draws` draws, each
    of one other test search's query.
    Raises InputError for a run that is not of gensr.
    """
    check_generative(request)
    measured = measure_methods(request, lambda run: _measure_run(request, run))
    return {"methods": {name: _summarize(found, request.seed) for name, found in measured.items()}}


def _measure_run(request: Request, run: RunFolder) -> Measured:
    """Columns "PROTOCOL/ASKED"."""
    dataset = request.dataset
    unasked = dataset.n_queries + 1  # the prompt of a search without its query
    task = build_task(run.config, dataset)._replace(tasks=("search",))
    trained = load_model(task, run.workdir, run.config.seed, dataset, request.mesh)
    evaluate = make_evaluator(
        trained.task,
        dataset,
        batch_size=run.config.eval.batch_size,
        filter_seen=run.config.eval.filter_seen,
        put_batch=lambda batch: put_batch(request.mesh, batch),
    )

    def remove(batch: Batch) -> Batch:
        return {**batch, "query": np.full_like(batch["query"], unasked)}

    found = {
        "own": [evaluate(trained.params, trained.constants).ranks],
        "none": [evaluate(trained.params, trained.constants, remove).ranks],
        "other": [],
    }
    queries = dataset.search.query[dataset.rows["search", "test"]]
    for draw in range(request.draws):

        def swap(batch: Batch, draw: int = draw) -> Batch:
            return {**batch, "query": draw_others(batch, queries, request.seed, draw)}

        found["other"].append(evaluate(trained.params, trained.constants, swap).ranks)
    columns = {}
    for asked, draws in found.items():
        for name, protocol in draws[0]:
            gains = [
                metrics_from_ranks(ranks[name, protocol].rank_low, ranks[name, protocol].rank_high)[
                    METRIC
                ]
                for ranks in draws
            ]
            columns[f"{protocol}/{asked}"] = np.mean(gains, axis=0)
    table = next(iter(found["own"][0].values()))
    return Measured(table.row, table.user, columns)


def draw_others(batch: Batch, queries: np.ndarray, seed: int, draw: int) -> np.ndarray:
    """A query for each row, int32 [B], out of `queries`, never the row's own."""
    rng = np.random.default_rng([seed, draw, int(batch["row"][0])])
    own = batch["query"]
    others = rng.choice(queries, len(own))
    while (same := others == own).any() and len(np.unique(queries)) > 1:
        others[same] = rng.choice(queries, same.sum())
    return others.astype(own.dtype)


def _summarize(found: Measured, seed: int) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    protocols = dict.fromkeys(column.rpartition("/")[0] for column in found.columns)
    for protocol in protocols:
        own = found.columns[f"{protocol}/own"]
        entries[protocol] = {}
        for asked in ASKED:
            values = found.columns[f"{protocol}/{asked}"]
            entry: dict[str, Any] = {METRIC: bound(found.user, values, seed)}
            if asked != "own":
                entry["change"] = bound_change(found.user, own, values, seed)
            entries[protocol][asked] = entry
    return entries


def format_table(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    head = ["method", "candidates", f"{METRIC} with its query", "without", "change",
            "another's query", "change"]  # fmt: skip
    rows = [
        [name, protocol, format_bounds(entry["own"][METRIC])]
        + [
            format_bounds(value, sign=sign)
            for asked in ASKED[1:]
            for value, sign in ((entry[asked][METRIC], False), (entry[asked]["change"], True))
        ]
        for name, method in results["methods"].items()
        for protocol, entry in method.items()
    ]
    return format_markdown(head, rows)


def draw(path: Path, results: dict[str, Any]) -> None:
    """NDCG@10 with the own, no and another query, a panel per kind of candidates.

    Raises InputError without matplotlib.
    """
    methods = results["methods"]
    protocols = list(dict.fromkeys(protocol for entry in methods.values() for protocol in entry))
    protocols = [name for name in protocols if name != FULL] + [FULL] * (FULL in protocols)
    labels = {"own": "its query", "none": "no query", "other": "another's query"}
    title = f"What the query is worth: {results['dataset']['name']}"
    width, height = 1.6 + 2.3 * len(protocols), 1.7 + 0.45 * len(methods)
    with open_figure(path, width, height, title) as figure:
        panels = figure.subplots(1, len(protocols), sharey=True, squeeze=False)[0]
        for panel, protocol in zip(panels, protocols, strict=True):
            for number, asked in enumerate(ASKED):
                found = {
                    at + 0.2 * number - 0.2: method[protocol][asked][METRIC]
                    for at, method in enumerate(methods.values())
                    if protocol in method
                }
                draw_intervals(
                    panel, found, found.values(), number, linestyle="", label=labels[asked]
                )
            panel.set_title(plain(protocol), fontsize=9)
            panel.set_xlabel(METRIC)
            panel.set_xlim(left=0)
        panels[0].set_yticks(range(len(methods)), [plain(name) for name in methods])
        panels[0].set_ylim(len(methods) - 0.5, -0.5)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=8
        )
