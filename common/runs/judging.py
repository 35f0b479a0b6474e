"""The end of a run: the test part is ranked, and what came out is printed and written."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from common.data.fingerprint import describe_data
from common.errors import writing
from common.precision import PRECISION
from common.printable import printable
from common.ranking.protocols import FULL, RETRIEVER, Evaluation, make_evaluator
from common.ranking.ranks import Ranks, write_ranks
from common.ranking.report import format_report
from common.ranking.results import build_results, write_results
from common.ranking.rows import choose_rows
from common.ranking.sanity import merge_ranks, rank_baselines
from common.ranking.slices import slice_ranks
from common.runs.evaluate_on import tell_data
from common.runs.evidence import weigh_evidence
from common.runs.job import Job
from common.settings.roles import describe_evaluation
from common.training.mesh import describe_device, fetch, spread_batch
from common.training.processes import is_first, meet, tell
from common.training.sharding import count_numbers
from common.training.task import Constants, Params


class Model(NamedTuple):
    """A model to judge."""

    params: Params
    constants: Constants
    # For results.json: which step's they are, whether training has come to its end, and what the
    # validation part said of them; nothing where nothing is trained
    about: Mapping[str, Any] = MappingProxyType({})
    examples_per_second: float | None = None  # in training, where that was this command


def evaluate_method(job: Job, model: Model, started: float) -> dict[str, Any]:
    """Ranks the test part under every protocol, beside the sanity baselines; prints and writes it.

    Printed first: what took an hour is not lost with a folder that cannot be written.
    started: `time.time()` when the command began
    """
    settings, task, dataset = job.settings, job.task, job.judged
    assert job.trained_on is not None  # a workdir without it was refused or claimed
    origin = {
        "trained_on": job.trained_on,
        "evaluated_on": describe_data(dataset),
        "evaluation": describe_evaluation(settings),
        "model": dict(model.about),
    }
    if line := tell_data(origin):
        tell(line)
    evaluation = make_evaluator(
        task,
        dataset,
        batch_size=settings.eval.batch_size,
        filter_seen=settings.eval.filter_seen,
        put_batch=partial(spread_batch, job.mesh),
        fetch=partial(fetch, job.mesh),
    )(model.params, model.constants)
    baselines = _rank_baselines(job, evaluation)
    evidence = None
    if settings.eval.evidence and (dataset.path / "truth").is_dir() and task.explain is not None:
        evidence = weigh_evidence(
            task, model.params, model.constants, dataset, job.mesh,
            settings.eval.batch_size, settings.seed,
        )  # fmt: skip
    results = build_results(
        dataset,
        evaluation,
        baselines,
        seed=settings.seed,
        train_examples_per_second=model.examples_per_second,
        method=task.name,
        stage=task.stages[-1].name if task.stages else None,
        parameters=count_numbers(model.params, task.rows),
        evidence=evidence,
        slices=slice_ranks(dataset, evaluation.ranks, trained=job.dataset, seed=settings.seed),
        wall_seconds=time.time() - started,
        origin=origin,
        device=describe_device(job.mesh),
        precision={"products": PRECISION, "activations": task.compute_dtype},
    )
    if is_first():
        print(printable(format_report(results)), flush=True)
        with writing(job.workdir / "ranks.parquet"):
            write_ranks(job.workdir / "ranks.parquet", evaluation.ranks)
        with writing(job.workdir / "results.json"):
            write_results(job.workdir / "results.json", results)
    meet("results")
    return results


def _rank_baselines(job: Job, evaluation: Evaluation) -> Mapping[str, Ranks]:
    """What stands beside the method: the sanity baselines, and its retriever alone."""
    dataset, least = job.judged, job.task.view.min_history
    sanity = merge_ranks(
        {
            served: rank_baselines(
                dataset,
                served,
                choose_rows(dataset, served, "test", least),
                full=(served, FULL) in evaluation.ranks,
                filter_seen=evaluation.details["filter_seen"],
                seed=job.settings.seed,
            )
            for served in job.task.tasks
        }
    )
    return {**sanity, RETRIEVER: evaluation.retriever} if evaluation.retriever else sanity
