"""Going on from a checkpoint: the newest that can be read, if it fits this run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

import numpy as np
from jax.sharding import Mesh

from common.errors import InputError
from common.training.checkpoints import (
    ASIDE,
    Checkpoints,
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
from common.training.sharding import place_shapes
from common.training.state import Progress, TrainState
from common.training.step import init_params, place_key, prepare_constants
from common.training.task import Constants, Identity, Params, Task

T = TypeVar("T")
Damaged = dict[int, CutShort]  # checkpoint -> what is wrong with it


def read_first(
    folder: Path, steps: Iterable[int], read: Callable[[Path], T]
) -> tuple[T | None, Damaged]:
    """What `read` makes of the first checkpoint for which it does not raise CutShort, or None, and
    those before it, which are damaged."""
    broken: Damaged = {}
    for step in steps:
        try:
            return read(folder / str(step)), broken
        except CutShort as error:
            broken[step] = error
    return None, broken


@contextmanager
def must_read(path: Path, mend: str = FRESH) -> Iterator[None]:
    """For a checkpoint that has no other to fall back on: CutShort becomes an InputError."""
    try:
        yield
    except CutShort as error:
        raise InputError(f"{path}: cannot be read ({error}); {mend}") from error


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

    def read(path: Path) -> tuple[TrainState, Progress]:
        progress, saved = open_checked(path)
        check_identities(path, saved, identities)
        check_fingerprint(path, saved, fingerprint)
        shapes = describe(progress)
        for part, expected in describe_state(shapes).items():
            check_fit(path, part, expected, progress.rows, rows)
        state = read_state(path, shapes)
        check_finite(path, state.params)
        return state, progress

    found, broken = read_first(checkpoints.folder, reversed(checkpoints.steps()), read)
    if found is not None:
        state, progress = found
        _set_aside(checkpoints, broken, f"going on from {progress.global_step}")
        return state, settle_best(checkpoints, replace(progress, rows=dict(rows)))
    if [type(error) for error in broken.values()] == [Unlisted]:
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

    @cache  # the newest is asked twice, and to check it is to read it
    def check(path: Path) -> Progress:
        """What a checkpoint says of itself, if every file is what was saved and it is of this
        run."""
        progress, saved = open_checked(path)
        check_data(path, saved, data, "train again, with another --workdir")
        check_config(path, saved, config)
        check_identities(path, saved, task.identities)
        return progress

    def read(path: Path) -> tuple[Params, Progress]:
        progress = check(path)
        check_fit(path, "params", describe_tree(shapes), progress.rows, task.rows)
        params = read_params(path, shapes)
        check_finite(path, params)
        return params, progress

    order = list(reversed(steps))
    # The newest that can be read knows how far the training has come, and which is the best.
    newest, broken = read_first(folder, order, check)
    newest = newest or Progress()
    if which == "best":
        best = (newest.best_step, newest.former_best_step)
        order = list(dict.fromkeys([*(step for step in best if step is not None), *order]))
    found, more = read_first(folder, (step for step in order if step not in broken), read)
    broken |= more
    if (broken or found is None) and list_steps(folder) != steps:
        # Not damaged: who trains has saved meanwhile, and deleted old ones.
        return _read_trained(task, folder, shapes, which, data, config)
    if found is None:
        raise _nothing_readable(folder, broken)
    params, progress = found
    for bad, reason in broken.items():
        warn(f"{folder / str(bad)}: damaged ({reason}); using {progress.global_step}")
    return params, replace(progress, ended=newest.ended and newest.stage == len(task.stages) - 1)


def load_params(path: Path, shapes: Any) -> Params:
    """The parameters of one checkpoint that must be there. Raises InputError."""
    with must_read(path):
        check_files(path)
        params = read_params(path, shapes)
    check_finite(path, params)
    return params


def warn(line: str) -> None:
    """Prints a warning once, not once per process."""
    tell(f"warning: {line}")


def settle_best(checkpoints: Checkpoints, progress: Progress) -> Progress:
    """The progress with a best checkpoint that is whole: if need be the best before it, or none.

    Training can go on without one, but must not promise it at the end. What is damaged is set
    aside, with a warning.
    """
    bests = [s for s in (progress.best_step, progress.former_best_step) if s is not None]
    _, broken = read_first(checkpoints.folder, bests, check_files)
    for step, damage in broken.items():
        path, former = checkpoints.folder / str(step), progress.former_best_step
        instead = f"the best before it, {former}, takes its place"
        if former is None:
            instead = "the next evaluation sets a new best"
        warn(f"{path}: the best so far, damaged ({damage}); {instead}")
        if path.is_dir():
            checkpoints.set_aside(step)
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


def _set_aside(checkpoints: Checkpoints, broken: Damaged, instead: str) -> None:
    """What only a kill has left is deleted: nobody could learn anything from it."""
    for step, reason in broken.items():
        killed = isinstance(reason, Unlisted)
        fate = "deleted" if killed else f"moved to {ASIDE}/"
        warn(f"{checkpoints.folder / str(step)}: damaged ({reason}); {fate}, {instead}")
        checkpoints.set_aside(step, keep=not killed)


def _nothing_readable(folder: Path, broken: Damaged) -> InputError:
    reasons = "; ".join(f"{step}: {error}" for step, error in broken.items())
    return InputError(f"{folder}: no checkpoint can be read ({reasons}); {FRESH}")
