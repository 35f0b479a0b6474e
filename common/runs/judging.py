"""The end of a run: the test part is ranked, and what came out is printed and written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.errors import writing
from common.printable import printable
from common.ranking.protocols import FULL, RETRIEVER, make_evaluator
from common.ranking.ranks import write_ranks
from common.ranking.report import format_report
from common.ranking.results import build_results, write_results
from common.ranking.rows import choose_rows
from common.ranking.sanity import merge_ranks, rank_baselines
from common.ranking.slices import slice_ranks
from common.runs.evidence import weigh_evidence
from common.training.mesh import fetch, spread_batch
from common.training.processes import is_first, meet
from common.training.sharding import count_numbers
from common.training.task import Constants, Params, Task


def evaluate_method(
    config: Any,
    task: Task,
    dataset: Dataset,
    params: Params,
    constants: Constants,
    workdir: Path,
    train_examples_per_second: float | None,
    started: float,
    mesh: Mesh,
    origin: Mapping[str, Any],
    trained: Dataset,
) -> dict[str, Any]:
    """Ranks the test part under every protocol, beside the sanity baselines; prints and writes it.

    Printed first: what took an hour is not lost with a folder that cannot be written.
    dataset: what is judged on; trained: what was trained on; origin: see `build_results`
    """
    evaluation = make_evaluator(
        task,
        dataset,
        batch_size=config.eval.batch_size,
        filter_seen=config.eval.filter_seen,
        put_batch=partial(spread_batch, mesh),
        fetch=partial(fetch, mesh),
    )(params, constants)
    sanity = merge_ranks(
        {
            served: rank_baselines(
                dataset,
                served,
                choose_rows(dataset, served, "test", task.view.min_history),
                full=(served, FULL) in evaluation.ranks,
                filter_seen=evaluation.details["filter_seen"],
                seed=config.seed,
            )
            for served in task.tasks
        }
    )
    evidence = None
    if config.eval.evidence and (dataset.path / "truth").is_dir() and task.explain is not None:
        evidence = weigh_evidence(
            task, params, constants, dataset, mesh, config.eval.batch_size, config.seed
        )
    results = build_results(
        dataset,
        evaluation,
        sanity | ({RETRIEVER: evaluation.retriever} if evaluation.retriever else {}),
        seed=config.seed,
        wall_seconds=time.time() - started,
        train_examples_per_second=train_examples_per_second,
        method=task.name,
        stage=task.stages[-1].name if task.stages else None,
        parameters=count_numbers(params, task.rows),
        evidence=evidence,
        slices=slice_ranks(dataset, evaluation.ranks, trained=trained, seed=config.seed),
        origin=origin,
    )
    if is_first():
        print(printable(format_report(results)), flush=True)
        with writing(workdir / "ranks.parquet"):
            write_ranks(workdir / "ranks.parquet", evaluation.ranks)
        with writing(workdir / "results.json"):
            write_results(workdir / "results.json", results)
    meet("results")
    return results
