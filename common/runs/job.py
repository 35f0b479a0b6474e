"""What one command has to do, read and checked before anything is written.

Bad input leaves nothing behind: `open_job` only reads, and `claim` is the first to write.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from common.data.batches import Batch
from common.data.dataset import Dataset
from common.data.fingerprint import describe_data, select_parts
from common.data.folder import load_dataset
from common.errors import InputError
from common.ranking.rows import choose_rows
from common.runs.evaluate_on import open_other
from common.runs.folder import check_workdir, claim_workdir, find_data, holding
from common.runs.methods import PLACES
from common.runs.retriever import attach_retriever
from common.runs.tasks import build_task, take_batch, take_stage_batch
from common.runs.validation import name_judging_lists, settle_metrics
from common.settings.reading import as_values
from common.settings.roles import select_settings
from common.training.check_task import check_task
from common.training.mesh import check_batch_size, read_mesh
from common.training.processes import is_first, meet
from common.training.sharding import pad_task
from common.training.stage_loop import check_batch
from common.training.task import Task


@dataclass(frozen=True)
class Job:
    """A method to train and judge, or only to judge."""

    settings: Any
    workdir: Path
    evaluates: bool  # nothing is trained
    dataset: Dataset  # what the model is of
    judged: Dataset  # what it is judged on
    task: Task
    mesh: Mesh
    batch: Batch  # a small one of the task's view, for shapes
    data: Mapping[str, Any]  # the dataset, see `describe_data`
    lists: Sequence[str]  # the stored lists that the stages are judged by
    trained_on: Mapping[str, Any] | None  # as `data`, of the workdir's run; None = it has none yet

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the numbers of the run hang on, beside its seed, for its checkpoints to keep."""
        return {
            "method": self.settings.method,
            "data": select_parts(self.data["parts"], lists=self.lists),
            "config": select_settings(self.settings, as_values(self.settings)),
        }


def open_job(
    settings: Any, workdir: Path, held: ExitStack, *, evaluates: bool, evaluate_on: str
) -> Job:
    """Reads the data, builds the task and checks them against each other, mesh and workdir.

    held: takes the lock of a workdir that is only judged
    evaluate_on: folder of another dataset to judge on; "" = its own
    Raises InputError for what does not fit.
    """
    dataset = load_dataset(find_data(settings), settings.data.split)
    task = build_task(settings, dataset)
    if evaluates and not (workdir / "config.json").exists():
        raise InputError(f"{workdir}: no run to evaluate; train first, or give another --workdir")
    if evaluates and is_first():
        held.enter_context(holding(workdir))
    if not evaluates:
        task = settle_metrics(settings, task, dataset)
    data, lists = describe_data(dataset), name_judging_lists(task, dataset.split)
    trained_on = check_workdir(
        workdir, settings, data, lists=() if evaluates else lists, evaluates=evaluates
    )
    judged = open_other(evaluate_on, dataset) if evaluate_on else dataset
    for served in task.tasks:  # nothing to rank: better known now than after training
        choose_rows(judged, served, "test", task.view.min_history)
    mesh = read_mesh(settings.mesh)
    for stage in task.stages:
        check_batch(stage, mesh, settings.accumulate)
    check_batch_size(mesh, max(settings.eval.batch_size, 2), "config.eval.batch_size")
    batch = take_batch(task, dataset)
    if settings.method not in PLACES:  # of the project's own the tests do it; it takes seconds
        trace_task(settings, task, dataset, batch)
    task = pad_task(task, mesh, batch)
    task = attach_retriever(settings, task, dataset, mesh)
    return Job(
        settings, workdir, evaluates, dataset, judged, task, mesh, batch, data, lists, trained_on
    )


def trace_task(settings: Any, task: Task, dataset: Dataset, batch: Batch) -> None:
    """As `check_task`. batch: as `Job.batch`"""
    stage_batches = {stage.name: take_stage_batch(stage, task, dataset) for stage in task.stages}
    check_task(task, batch, stage_batches, evidence=settings.eval.evidence)


def claim(job: Job, held: ExitStack) -> Job:
    """The job with its workdir taken, once for all processes: the first holds its lock.

    Raises InputError where another run was quicker, WriteError.
    """
    if is_first():
        held.enter_context(holding(job.workdir))
        claim_workdir(job.workdir, job.settings, job.data, job.lists)
    meet("workdir")
    trained_on = check_workdir(job.workdir, job.settings, job.data, lists=job.lists)
    return dataclasses.replace(job, trained_on=trained_on)
