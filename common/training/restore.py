"""Going on from a checkpoint: the newest that can be read, if it fits this run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from jax.sharding import Mesh

from common.errors import InputError
from common.training.checkpoints import (
    ASIDE,
    Checkpoints,
    describe_saved,
    describe_state,
    describe_tree,
    list_steps,
    open_checked,
    read_params,
    read_state,
)
from common.training.checksums import CutShort, Unlisted, check_files
from common.training.fit import (
    FRESH,
    check_config,
    check_data,
    check_fingerprint,
    check_finite,
    check_fit,
    check_identities,
)
from common.training.mesh import copy_batch
from common.training.processes import tell
from common.training.sharding import cut_rows, place_shapes
from common.training.state import Progress, TrainState
from common.training.step import init_params, place_key, prepare_constants
from common.training.task import Constants, Identity, Params, Task


def restore_newest(
    checkpoints: Checkpoints,
    describe: Callable[[Progress], TrainState],
    fingerprint: Mapping[str, Any],
    identities: Sequence[Identity] = (),
    rows: Mapping[str, int] = MappingProxyType({}),
) -> tuple[TrainState, Progress] | None:
    """The state of the newest checkpoint that can be read, or None where there is none.

    describe(progress) -> shapes, dtypes and shardings of the state of that stage
    fingerprint: what the run is a function of; it must be the one that was saved
    identities, rows: of the task
    A checkpoint that is damaged is set aside and the one before it used, with a warning. One whose
    save was killed near its end, and which is the only one, is as good as none.
    Raises InputError when none can be read, or when it was made by another model or config.
    """
    steps = checkpoints.steps()
    broken: list[tuple[int, CutShort]] = []
    for step in reversed(steps):
        path = checkpoints.folder / str(step)
        try:
            progress, saved_fingerprint = open_checked(path)
            check_identities(path, saved_fingerprint, identities)
            check_fingerprint(path, saved_fingerprint, fingerprint)
            shapes = describe(progress)
            for part, expected in describe_state(shapes).items():
                saved = cut_rows(describe_saved(path, part), progress.rows)
                check_fit(path, part, saved, cut_rows(expected, rows))
            state = read_state(path, shapes)
            check_finite(path, state.params)
        except CutShort as error:
            broken.append((step, error))
            continue
        _set_aside(checkpoints, broken, f"going on from {step}")
        progress = replace(progress, rows=dict(rows))
        return state, settle_best(checkpoints, progress)
    if [type(error) for _, error in broken] == [Unlisted]:
        _set_aside(checkpoints, broken, "beginning again")
    elif broken:
        raise _nothing_readable(checkpoints.folder, broken)
    return None


def load_trained(
    task: Task,
    batch: Mapping[str, np.ndarray],
    workdir: Path,
    seed: int,
    mesh: Mesh,
    which: Literal["best", "latest"] = "best",
    data: Mapping[str, str] = MappingProxyType({}),
    config: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Params, Constants, Progress]:
    """The parameters and constants of a trained run, for evaluating and serving.

    batch: any batch of the task's view, for shapes
    seed: the run's; constants are not saved but made again, by `task.init` from the same key and
        by `prepare` of the last stage
    which: "best" by the last stage's stopping metric, or "latest"
    data: the parts of the dataset that it must have been trained on, see `select_parts`
    config: keys of the configuration that it must have been trained with
    Returns the progress of the checkpoint that was read; its `ended` says whether the training has
    come to its end since.
    For a damaged best checkpoint the best before it is used, or else the newest that can be read;
    for a damaged latest one the one before it; with a warning. Another process may be training.
    Raises InputError when there is no checkpoint, none can be read, or it is of another model.
    """
    folder = Path(workdir).resolve() / "checkpoints"
    if not list_steps(folder):
        raise InputError(f"{folder}: no checkpoint; train first, or give another --workdir")
    fresh, constants = init_params(
        task, place_key(seed, "init", mesh), copy_batch(mesh, batch), mesh
    )
    shapes = place_shapes(fresh, mesh, fresh)
    del fresh
    params, progress = _read_trained(task, folder, shapes, which, data, config)
    return params, prepare_constants(task.stages[-1], params, constants, mesh), progress


def _read_trained(
    task: Task,
    folder: Path,
    shapes: Params,
    which: Literal["best", "latest"],
    data: Mapping[str, str],
    config: Mapping[str, Any],
) -> tuple[Params, Progress]:
    """As `load_trained`, without the constants."""
    steps = list_steps(folder)
    broken: dict[int, CutShort] = {}

    @cache  # the newest is asked twice, and to check it is to read it
    def check(step: int) -> Progress | None:
        """What a checkpoint says of itself, if every file is what was saved and it is of this run;
        None where it is damaged, which is booked."""
        path = folder / str(step)
        try:
            progress, saved_fingerprint = open_checked(path)
        except CutShort as error:
            broken[step] = error
            return None
        check_data(path, saved_fingerprint, data, "train again, with another --workdir")
        check_config(path, saved_fingerprint, config)
        check_identities(path, saved_fingerprint, task.identities)
        return progress

    order = list(reversed(steps))
    # The newest that can be read knows how far the training has come, and which is the best.
    newest = next((progress for step in order if (progress := check(step))), Progress())
    ended = newest.ended and newest.stage == len(task.stages) - 1
    if which == "best":
        best = (newest.best_step, newest.former_best_step)
        order = list(dict.fromkeys([*(step for step in best if step is not None), *order]))
    for step in order:
        path = folder / str(step)
        if step in broken or (progress := check(step)) is None:
            continue
        try:
            saved = cut_rows(describe_saved(path, "params"), progress.rows)
            check_fit(path, "params", saved, cut_rows(describe_tree(shapes), task.rows))
            params = read_params(path, shapes)
            check_finite(path, params)
        except CutShort as error:
            broken[step] = error
            continue
        if broken and list_steps(folder) != steps:
            break  # not damaged: who trains has saved meanwhile, and deleted old ones
        for bad, reason in broken.items():
            warn(f"{folder / str(bad)}: damaged ({reason}); using {step}")
        return params, replace(progress, ended=ended)
    if list_steps(folder) != steps:
        return _read_trained(task, folder, shapes, which, data, config)
    raise _nothing_readable(folder, list(broken.items()))


def load_params(path: Path, shapes: Any) -> Params:
    """The parameters of one checkpoint that must be there. Raises InputError."""
    try:
        check_files(path)
        params = read_params(path, shapes)
        check_finite(path, params)
        return params
    except CutShort as error:
        raise InputError(f"{path}: cannot be read ({error}); {FRESH}") from error


def warn(line: str) -> None:
    """Prints a warning once, not once per process."""
    tell(f"warning: {line}")


def settle_best(checkpoints: Checkpoints, progress: Progress) -> Progress:
    """The progress with a best checkpoint that is whole: if need be the best before it, or none.

    Training can go on without one, but must not promise it at the end. What is damaged is set
    aside, with a warning.
    """
    while progress.best_step is not None:
        path = checkpoints.folder / str(progress.best_step)
        try:
            check_files(path)
            return progress
        except CutShort as error:
            damage = error
        former = progress.former_best_step
        instead = f"the best before it, {former}, takes its place"
        if former is None:
            instead = "the next evaluation sets a new best"
        warn(f"{path}: the best so far, damaged ({damage}); {instead}")
        if path.is_dir():
            checkpoints.set_aside(progress.best_step)
        progress = replace(
            progress,
            best_value=progress.former_best_value,
            best_step=former,
            former_best_value=None,
            former_best_step=None,
            # Without any, the current step is evaluated before anything else.
            evaluated_step=0 if former is None else progress.evaluated_step,
        )
    return progress


def _set_aside(
    checkpoints: Checkpoints, broken: Sequence[tuple[int, CutShort]], instead: str
) -> None:
    """What only a kill has left is deleted: nobody could learn anything from it."""
    for step, reason in broken:
        killed = isinstance(reason, Unlisted)
        fate = "deleted" if killed else f"moved to {ASIDE}/"
        warn(f"{checkpoints.folder / str(step)}: damaged ({reason}); {fate}, {instead}")
        checkpoints.set_aside(step, keep=not killed)


def _nothing_readable(folder: Path, broken: list[tuple[int, CutShort]]) -> InputError:
    reasons = "; ".join(f"{step}: {error}" for step, error in broken)
    return InputError(f"{folder}: no checkpoint can be read ({reasons}); {FRESH}")
