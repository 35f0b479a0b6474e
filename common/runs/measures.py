"""What the studies share: their runs, values per test row, and bounds over users.

Shapes: [n] test rows
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.data.fingerprint import describe_data
from common.errors import InputError
from common.ranking.intervals import bca_intervals, compare_columns
from common.ranking.protocols import FULL, EditBatch, make_evaluator
from common.ranking.ranks import RankTable
from common.runs.folder import RunFolder
from common.runs.run import use_compilation_cache
from common.runs.tasks import build_task
from common.runs.trained import Trained, load_model, open_runs
from common.training.mesh import make_mesh, put_batch
from common.training.task import Task

Columns = dict[str, np.ndarray]  # name -> float64 [n]


class Request(NamedTuple):
    """What a study is asked to do."""

    runs: list[RunFolder]
    dataset: Dataset
    mesh: Mesh
    draws: int
    seed: int
    batch_size: int
    readout: str | None

    def describe(self) -> dict[str, Any]:
        """The part of the results that all studies have."""
        return {
            "dataset": {"sha256": self.dataset.sha256, **describe_data(self.dataset)},
            "split": self.dataset.split,
            "draws": self.draws,
            "seed": self.seed,
            "runs": [{"name": run.name, "workdir": str(run.workdir)} for run in self.runs],
        }


class Measured(NamedTuple):
    """Values of single test rows under one method, means over its seeds."""

    row: np.ndarray  # int64 [n]
    user: np.ndarray  # int32 [n]
    columns: Columns


def open_request(
    runs: str, data: str, draws: int, seed: int, batch_size: int, readout: str | None
) -> Request:
    """Opens the runs of `--runs` and their dataset. Raises InputError as `open_runs`."""
    use_compilation_cache()
    folders, dataset = open_runs(runs, data)
    mesh = make_mesh(jax.devices()[:1])
    return Request(folders, dataset, mesh, draws, seed, batch_size, readout)


def load_run(request: Request, run: RunFolder, task: Task | None = None) -> Trained:
    """A run's best parameters; task: as it was trained unless another is given."""
    task = build_task(run.config, request.dataset) if task is None else task
    if "rec" not in task.tasks or task.score_catalogue is None:
        raise InputError(f"--runs: {run.name} does not rank the catalogue for rec; leave it out")
    return load_model(task, run.workdir, run.config.seed, request.dataset, request.mesh)


def make_ranker(
    request: Request, run: RunFolder, trained: Trained
) -> Callable[[EditBatch | None], RankTable]:
    """A function from an edit of the histories to the ranks of the test rows in the catalogue."""
    evaluate = make_evaluator(
        trained.task,
        request.dataset,
        protocols=[FULL],
        batch_size=request.batch_size,
        filter_seen=run.config.eval.filter_seen,
        put_batch=lambda batch: put_batch(request.mesh, batch),
    )
    return lambda edit: evaluate(trained.params, trained.constants, edit).ranks["rec", FULL]


def measure_methods(
    request: Request, measure_run: Callable[[RunFolder], Measured | None]
) -> dict[str, Measured]:
    """Measures every run; runs of one name are seeds of one method, and averaged row by row.

    measure_run: returns None for a run that has nothing to measure
    Raises InputError when runs rank different rows.
    """
    found: dict[str, list[Measured]] = {}
    for number, run in enumerate(request.runs, 1):
        print(f"run {number} of {len(request.runs)}: {run.name}", file=sys.stderr)
        measured = measure_run(run)
        if measured is not None:
            found.setdefault(run.name, []).append(measured)
    every = [measured for seeds in found.values() for measured in seeds]
    for measured in every[1:]:
        if not np.array_equal(measured.row, every[0].row):
            raise InputError(
                f"--runs: one run ranks {len(every[0].row)} test rows, another "
                f"{len(measured.row)}; use runs with the same config.data.min_history"
            )
    return {
        name: seeds[0]._replace(
            columns={
                key: np.mean([seed.columns[key] for seed in seeds], axis=0)
                for key in seeds[0].columns
            }
        )
        for name, seeds in found.items()
    }


def bound(user: np.ndarray, values: np.ndarray, seed: int) -> dict[str, float]:
    """{"value", "low", "high"}: the mean of values float64 [n] and its 95 % BCa bounds."""
    triple = bca_intervals(user, np.asarray(values, np.float64)[:, None], seed=seed)
    return {name: float(part[0]) for name, part in triple._asdict().items()}


def bound_change(
    user: np.ndarray, before: np.ndarray, after: np.ndarray, seed: int
) -> dict[str, float]:
    """As `bound`, of the paired differences of values float64 [n], with their "p"."""
    pair = compare_columns(user, before[:, None], after[:, None], seed=seed)[0]
    return {"value": pair.difference, "low": pair.low, "high": pair.high, "p": pair.p_value}


def join_bounds(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """{"value", "low", "high"}: the mean value, the lowest and the highest bound of several
    entries; None where none has a value."""
    known = [entry for entry in entries if entry["value"] is not None]
    if not known:
        return {"value": None, "low": None, "high": None}
    return {
        "value": float(np.mean([entry["value"] for entry in known])),
        "low": min(entry["low"] for entry in known),
        "high": max(entry["high"] for entry in known),
    }


# Two-sided 95 % points of Student's t, by degrees of freedom from 1.
_STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)


def bound_seeds(values: np.ndarray) -> dict[str, float]:
    """{"value", "low", "high"}: the mean over seeds [s] and its 95 % t interval.

    Both ends are the value where there is one seed: nothing is known of the spread.
    """
    mean, free = float(np.mean(values)), len(values) - 1
    reach = 0.0
    if free:
        point = _STUDENT[min(free, len(_STUDENT)) - 1]
        reach = float(point * np.std(values, ddof=1) / len(values) ** 0.5)
    return {"value": mean, "low": mean - reach, "high": mean + reach}
