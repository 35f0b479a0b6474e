"""Run folders and the trained models in them, for evaluating, explaining and studies."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from jax.sharding import Mesh
from ml_collections import ConfigDict

from common.data.dataset import Dataset
from common.data.folder import load_dataset
from common.data.timeline import Timeline, build_timeline
from common.errors import InputError
from common.json_files import take
from common.training.mesh import copy_batch
from common.training.restore import load_trained
from common.training.step import init_params, place_key
from common.training.task import Constants, Params, Task
from launch.config import flatten, read_saved
from launch.config_keys import base_values, check_keys
from launch.methods import METHODS, take_batch
from launch.workdirs import match_workdirs


class RunFolder(NamedTuple):
    """A workdir that `launch.main` has trained, and the name it has in a study."""

    name: str
    workdir: Path
    config: ConfigDict
    dataset_sha256: str


class Trained(NamedTuple):
    """A task with its best parameters."""

    task: Task
    params: Params
    constants: Constants


def load_model(
    task: Task, workdir: Path, seed: int, dataset: Dataset, timeline: Timeline, mesh: Mesh
) -> Trained:
    """The best parameters of a run. As `load_best`, without the step."""
    return load_best(task, workdir, seed, dataset, timeline, mesh)[0]


def load_best(
    task: Task, workdir: Path, seed: int, dataset: Dataset, timeline: Timeline, mesh: Mesh
) -> tuple[Trained, int | None]:
    """The best parameters of a run, and the step that made them (None = nothing was trained).

    task: as it was trained, or with other history lengths
    seed: the run's
    Raises InputError where there is no checkpoint that fits.
    """
    batch = take_batch(task, dataset, timeline)
    if not task.stages:  # what `init` makes is the model
        params, constants = init_params(
            task, place_key(seed, "init", mesh), copy_batch(mesh, batch), mesh
        )
        return Trained(task, params, constants), None
    params, constants, progress = load_trained(task, batch, workdir, seed, mesh)
    return Trained(task, params, constants), progress.global_step


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


def open_folder(name: str, workdir: Path) -> RunFolder:
    """Reads a run's config.json. Keys that the run did not know yet get their defaults, with a
    warning. Raises InputError where there is none that can be read."""
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(f"{workdir}: is no run (no config.json); train it first")
    values, sha256 = read_saved(path, "use another run")
    method = take(values, "method", str, str(path), "use another run")
    if method not in METHODS:
        raise InputError(f"{path}, key method: {method!r} is unknown; use {', '.join(METHODS)}")
    try:
        config = ConfigDict(values)
    except (ValueError, AttributeError) as error:  # a key with a dot, or "__class__"
        raise InputError(f"{path}: is no configuration ({error}); use another run") from None
    missing = _add_defaults(config, method, path)
    if missing:
        print(
            f"warning: {path}: older than {', '.join(missing)}; default values are used",
            file=sys.stderr,
        )
    check_keys(config)
    return RunFolder(name, workdir, config, sha256)


def open_runs(text: str, data: str = "") -> tuple[list[RunFolder], Dataset, Timeline]:
    """The runs of a study, with the dataset they share.

    text: of `--runs`, see `parse_runs`; data: folder of the dataset, "" = the first run's
    Raises InputError for runs on different data, splits or rankings.
    """
    runs = [open_folder(name, workdir) for name, workdir in parse_runs(text)]
    first = runs[0]
    for run in runs[1:]:
        for what, ours, theirs in (
            ("dataset", first.dataset_sha256[:12], run.dataset_sha256[:12]),
            ("split", first.config.data.split, run.config.data.split),
            ("filter_seen", first.config.eval.filter_seen, run.config.eval.filter_seen),
        ):
            if ours != theirs:
                raise InputError(
                    f"--runs: the {what} of {first.name} is {ours}, of {run.name} {theirs}; "
                    "compare runs on the same"
                )
    dataset = load_dataset(Path(data or first.config.data.path), first.config.data.split)
    if dataset.sha256 != first.dataset_sha256:
        raise InputError(
            f"{dataset.path}: is the dataset {dataset.sha256[:12]}, the runs were trained on "
            f"{first.dataset_sha256[:12]}; give that one with --data"
        )
    timeline = build_timeline(dataset.rec, dataset.search, dataset.n_users, dataset.history_order)
    return runs, dataset, timeline


def _add_defaults(config: ConfigDict, method: str, path: Path) -> list[str]:
    """Adds keys of the method's base config that are missing; returns them.

    path: what an error names. Raises InputError where a group of keys is something else.
    """
    known = base_values(method)
    missing = sorted(known.keys() - flatten(config.to_dict()).keys())
    for key in missing:
        group, name = config, key
        while "." in name:
            head, _, name = name.partition(".")
            if head not in group:
                group[head] = ConfigDict()
            group = group[head]
            if not isinstance(group, ConfigDict):
                raise InputError(f"{path}, key {key}: has no group to stand in; use another run")
        if name in group:
            raise InputError(f"{path}, key {key}: is a group of keys; use another run")
        group[name] = known[key]
    return missing
