"""Going on from a checkpoint: the newest that can be read, if it fits this run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common.data.fingerprint import AGAIN, check_parts
from common.errors import InputError
from common.training.checkpoints import (
    IDENTITY,
    Checkpoints,
    CutShort,
    check_sizes,
    describe_saved,
    describe_state,
    describe_tree,
    list_steps,
    read_params,
    read_record,
    read_state,
)
from common.training.mesh import copy_batch
from common.training.optimizers import name_leaves
from common.training.processes import tell
from common.training.sharding import Described, cut_rows, place_shapes
from common.training.state import Progress, TrainState
from common.training.step import init_params, place_key, prepare_constants
from common.training.task import Constants, Identity, Params, Task

DATA = "data"  # of a fingerprint: the parts of the dataset that the run hangs on, if it names any
_ROWS = 20  # differences shown in one message
_FRESH = "delete the folder to start again, or use another --workdir"


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
    A checkpoint that was cut short is set aside and the one before it used, with a warning.
    Raises InputError when none can be read, or when it was made by another model or config.
    """
    steps = checkpoints.steps()
    broken: list[tuple[int, CutShort]] = []
    for step in reversed(steps):
        path = checkpoints.folder / str(step)
        try:
            check_sizes(path)
            progress, saved_fingerprint = read_record(path)
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
        for bad, reason in broken:
            warn(f"{checkpoints.folder / str(bad)}: cut short ({reason}); going on from {step}")
            checkpoints.set_aside(bad)
        progress = replace(progress, rows=dict(rows))
        return state, _forget_broken_best(checkpoints, progress)
    if broken:
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
) -> tuple[Params, Constants, Progress]:
    """The parameters and constants of a trained run, for evaluating and serving.

    batch: any batch of the task's view, for shapes
    seed: the run's; constants are not saved but made again, by `task.init` from the same key and
        by `prepare` of the last stage
    which: "best" by the last stage's stopping metric, or "latest"
    data: the parts of the dataset that it must have been trained on, see `select_parts`
    Returns the progress of the checkpoint that was read.
    A checkpoint that was cut short is replaced by the newest one that can be read, with a warning.
    Raises InputError when there is no checkpoint, none can be read, or it is of another model.
    """
    folder = Path(workdir).resolve() / "checkpoints"
    steps = list_steps(folder)
    if not steps:
        raise InputError(f"{folder}: no checkpoint; train first, or give another --workdir")
    fresh, constants = init_params(
        task, place_key(seed, "init", mesh), copy_batch(mesh, batch), mesh
    )
    shapes = place_shapes(fresh, mesh)
    del fresh
    order = list(reversed(steps))
    if which == "best" and (best := _best_step(folder, order)) is not None:
        order = [best, *(step for step in order if step != best)]
    broken: list[tuple[int, CutShort]] = []
    for step in order:
        path = folder / str(step)
        try:
            check_sizes(path)
            progress, saved_fingerprint = read_record(path)
            check_data(path, saved_fingerprint, data, "train again, with another --workdir")
            check_identities(path, saved_fingerprint, task.identities)
            saved = cut_rows(describe_saved(path, "params"), progress.rows)
            check_fit(path, "params", saved, cut_rows(describe_tree(shapes), task.rows))
            params = read_params(path, shapes)
            check_finite(path, params)
        except CutShort as error:
            broken.append((step, error))
            continue
        for bad, reason in broken:
            warn(f"{folder / str(bad)}: cut short ({reason}); using {step}")
        return params, prepare_constants(task.stages[-1], params, constants, mesh), progress
    raise _nothing_readable(folder, broken)


def load_params(path: Path, shapes: Any) -> Params:
    """The parameters of one checkpoint that must be there. Raises InputError."""
    try:
        check_sizes(path)
        params = read_params(path, shapes)
        check_finite(path, params)
        return params
    except CutShort as error:
        raise InputError(f"{path}: cannot be read ({error}); {_FRESH}") from error


def check_fit(
    path: Path, part: str, saved: Described, expected: Described, remedy: str = _FRESH
) -> None:
    """Compares names, shapes and dtypes of what was saved and what is expected.

    remedy: what else the message advises than the config that was used
    Raises InputError with a table of the differences.
    """
    differ = [
        (name, saved.get(name), expected.get(name))
        for name in sorted({*saved, *expected})
        if saved.get(name) != expected.get(name)
    ]
    if not differ:
        return
    rows = [("name", "saved", "expected")]
    rows += [(name, _in_words(old), _in_words(new)) for name, old, new in differ[:_ROWS]]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    if len(differ) > _ROWS:
        lines.append(f"and {len(differ) - _ROWS} more")
    table = "\n".join("    " + line for line in lines)
    raise InputError(
        f"{path / part}: {len(differ)} of its arrays do not fit this model; "
        f"use the config it was made with, or {remedy}\n{table}"
    )


def check_finite(path: Path, params: Params) -> None:
    """Raises InputError naming the first parameter that has a NaN or an infinity.

    Training stops before it saves such a number, so somebody has written it since.
    """
    for name, leaf in name_leaves(params):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not bool(_is_finite(leaf)):
            raise InputError(
                f"{path / 'params'}, parameter {name}: has numbers that are not finite; delete "
                f"{path} to go on from an earlier one, or use another --workdir"
            )


@jax.jit
def _is_finite(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).all()


def check_fingerprint(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises InputError naming the entries that differ between two fingerprints.

    Identities are left to `check_identities`.
    """
    check_data(path, saved, now.get(DATA, {}), _FRESH)
    before, after = (
        _flatten({name: part for name, part in tree.items() if name not in (IDENTITY, DATA)})
        for tree in (saved, json.loads(json.dumps(now)))
    )
    differ = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    if differ:
        shown = ", ".join(
            f"{name} was {before.get(name)!r} and is {after.get(name)!r}" for name in differ[:_ROWS]
        )
        more = f" and {len(differ) - _ROWS} more" if len(differ) > _ROWS else ""
        raise InputError(f"{path}: made by another run ({shown}{more}); {_FRESH}")


def check_data(path: Path, saved: Mapping[str, Any], parts: Mapping[str, str], mend: str) -> None:
    """Raises InputError naming the part of the dataset that is another one than was saved.

    saved: the fingerprint of a checkpoint; parts: see `common.data.fingerprint`
    """
    if parts and DATA not in saved:
        raise InputError(f"{path}: {AGAIN}; {mend}")
    check_parts(f"{path}: made on other data", saved.get(DATA, {}), parts, mend)


def check_identities(path: Path, saved: Mapping[str, Any], identities: Sequence[Identity]) -> None:
    """Raises InputError naming the first identity that is another one than was saved.

    saved: the fingerprint of a checkpoint; what an older one does not hold is not looked at
    """
    known = saved.get(IDENTITY, {})
    for name, value, remedy in identities:
        if known.get(name, value) != value:
            raise InputError(
                f"{path}: its {name} is {known[name][:12]}, here it is {value[:12]}; {remedy}"
            )


def describe_identities(task: Task) -> dict[str, Any]:
    """The part of a fingerprint that holds a task's identities; nothing where it has none."""
    found = {name: value for name, value, _ in task.identities}
    return {IDENTITY: found} if found else {}


def warn(line: str) -> None:
    """Prints a warning once, not once per process."""
    tell(f"warning: {line}")


def _forget_broken_best(checkpoints: Checkpoints, progress: Progress) -> Progress:
    """Training can go on without the best checkpoint, but must not promise it at the end."""
    if progress.best_step is None:
        return progress
    path = checkpoints.folder / str(progress.best_step)
    try:
        if not path.is_dir():
            raise CutShort("it is missing")
        check_sizes(path)
    except CutShort as error:
        warn(f"{path}: the best so far, cut short ({error}); the next evaluation sets a new best")
        if path.is_dir():
            checkpoints.set_aside(progress.best_step)
        # Not evaluated: so the current step is, before anything else.
        return replace(progress, best_value=None, best_step=None, evaluated_step=0)
    return progress


def _best_step(folder: Path, order: list[int]) -> int | None:
    for step in order:
        try:
            best = read_record(folder / str(step))[0].best_step
        except CutShort:
            continue
        return best
    return None


def _nothing_readable(folder: Path, broken: list[tuple[int, CutShort]]) -> InputError:
    reasons = "; ".join(f"{step}: {error}" for step, error in broken)
    return InputError(f"{folder}: no checkpoint can be read ({reasons}); {_FRESH}")


def _in_words(entry: tuple[tuple[int, ...], str] | None) -> str:
    return "-" if entry is None else f"{entry[1]} {list(entry[0])}"


def _flatten(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {name: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{name}.{key}" if name else str(key)))
    return flat
