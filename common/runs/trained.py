"""Run folders and the trained models in them, for evaluating, explaining and studies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from jax.sharding import Mesh

from common.data.batches import Batch
from common.data.dataset import Dataset
from common.data.fingerprint import (
    check_parts,
    describe_data,
    find_differences,
    find_other_lists,
    select_parts,
    sum_up,
)
from common.data.folder import load_dataset
from common.errors import InputError
from common.runs.folder import RunFolder, find_data, open_folder, read_run
from common.runs.methods import find_stored
from common.runs.tasks import take_batch
from common.runs.workdirs import match_workdirs
from common.settings.roles import select_settings
from common.training.mesh import copy_batch
from common.training.restore import load_trained
from common.training.state import Progress
from common.training.step import init_params, place_key
from common.training.task import Constants, Params, Task


class Trained(NamedTuple):
    """A task with its best parameters."""

    task: Task
    params: Params
    constants: Constants


def load_model(task: Task, workdir: Path, seed: int, dataset: Dataset, mesh: Mesh) -> Trained:
    """The best parameters of a run. As `load_best`, without its progress."""
    return load_best(task, workdir, seed, dataset, mesh)[0]


def load_best(
    task: Task,
    workdir: Path,
    seed: int,
    dataset: Dataset,
    mesh: Mesh,
    batch: Batch | None = None,
) -> tuple[Trained, Progress | None]:
    """The best parameters of a run, and the progress that they were saved at.

    task: as it was trained, or with other history lengths
    seed: the run's
    batch: of the task's view, for shapes; None = one is taken
    Of a method without stages what `init` makes is the model, and its progress is None.
    Raises InputError where there is no checkpoint that fits.
    """
    batch = take_batch(task, dataset) if batch is None else batch
    if not task.stages:
        params, constants = init_params(
            task, place_key(seed, "init", mesh), copy_batch(mesh, batch), mesh
        )
        return Trained(task, params, constants), None
    parts = select_parts(describe_data(dataset)["parts"])
    values, _ = read_run(workdir / "config.json")
    tree = find_stored(values.get("method")).settings
    params, constants, progress = load_trained(
        task, batch, workdir, seed, mesh,
        data=parts, config=select_settings(tree, values, evaluates=True),
    )  # fmt: skip
    return Trained(task, params, constants), progress


def parse_runs(text: str) -> list[tuple[str, Path]]:
    """Reads `NAME=DIR,NAME=DIR,...`; a name may have a "=" in it, and DIR alone is its own name.

    DIR may be a pattern ("runs/lcr/seed*"). Runs of one name are seeds of one method.
    Raises InputError for nothing, an empty part, a pattern without a finished run, or a run that
    comes twice under a name.
    """
    runs: list[tuple[str, Path]] = []
    for part in text.split(","):
        name, _, folder = part.strip().rpartition("=")
        if not folder:
            raise InputError(f"--runs={text}: needs NAME=DIR,NAME=DIR,...; give at least one")
        for place in match_workdirs(folder, "--runs"):
            place = place.resolve()
            run = (name or place.name, place)
            if run in runs:
                raise InputError(f"--runs: {place}: comes twice in {run[0]}; name it once")
            runs.append(run)
    return runs


def open_runs(text: str, data: str = "") -> tuple[list[RunFolder], Dataset]:
    """The runs of a study, with the dataset they share.

    text: of `--runs`, see `parse_runs`; data: folder of the dataset, "" = the first run's
    Raises InputError for runs on different data, splits or rankings.
    """
    runs = [open_folder(name, workdir) for name, workdir in parse_runs(text)]
    first = runs[0]
    ours = select_parts(first.data["parts"])
    for run in runs[1:]:
        if found := find_differences(select_parts(run.data["parts"]), ours):
            raise InputError(
                f"--runs: {run.name} was not trained on the data of {first.name}: "
                f"{sum_up(found)}; compare runs on the same"
            )
        theirs, own = run.config.eval.filter_seen, first.config.eval.filter_seen
        if theirs != own:
            raise InputError(
                f"--runs: the filter_seen of {first.name} is {own}, of {run.name} {theirs}; "
                "compare runs on the same"
            )
    file = first.workdir / "config.json"
    path = find_data(first.config, data, where=file, mend="--data=DIR")
    dataset = load_dataset(path, first.config.data.split)
    check_parts(
        f"{dataset.path}: is not what the runs were trained on",
        ours,
        select_parts(describe_data(dataset)["parts"]),
        "give that one with --data",
    )
    if line := find_other_lists(first.data["parts"], describe_data(dataset)["parts"]):
        print(line, file=sys.stderr)
    return runs, dataset
