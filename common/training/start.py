"""Beginning a run with the parameters of another one that has finished."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from common.data.fingerprint import select_parts
from common.errors import InputError
from common.training.checkpoints import (
    IDENTITY,
    describe_tree,
    list_steps,
    open_checked,
    read_params,
)
from common.training.checksums import check_files
from common.training.fit import CONFIG, DATA, check_data, check_finite, check_fit, check_identities
from common.training.restore import must_read, read_first
from common.training.task import Params, Task

_OTHER = "give another run to start from"
# The last two are told in words of their own.
_MAY_DIFFER = ("seed", "start", CONFIG, DATA, IDENTITY)


class Start(NamedTuple):
    """The checkpoint that a run begins with."""

    path: Path
    rows: Mapping[str, int]  # as `Progress.rows`
    identity: dict[str, Any]  # part of the fingerprint of the run that begins here


def find_start(task: Task, fingerprint: Mapping[str, Any]) -> Start:
    """The best checkpoint of the run at `task.start`.

    fingerprint: of the run that begins; method, tables, history rule and split must be the same,
        the seed, the configuration and the lists that it is judged by need not
    Raises InputError when there is none, it is of other data, or the run has gone on to a later
    stage, which keeps the best of that stage only.
    """
    workdir = Path(task.start)
    folder = workdir.resolve() / "checkpoints"
    found, _ = read_first(folder, reversed(list_steps(folder)), open_checked)
    if found is None:
        raise InputError(
            f"{folder}: no checkpoint to start from; train that run first, or {_OTHER}"
        )
    progress, saved = found
    if progress.stage > 0:
        raise InputError(
            f"{workdir}: has gone on to stage {progress.stage_name} and keeps its best only; "
            "give a run of the first stage alone"
        )
    differ = [
        f"{name} is {saved.get(name)!r} there and {value!r} here"
        for name, value in fingerprint.items()
        if name not in _MAY_DIFFER and saved.get(name) != value
    ]
    if differ:
        raise InputError(f"{workdir}: made on something else ({', '.join(differ)}); {_OTHER}")
    check_data(workdir, saved, select_parts(fingerprint.get(DATA, {})), _OTHER)
    check_identities(workdir, saved, task.identities)
    if progress.best_step is None:
        raise InputError(f"{workdir}: was never evaluated; let it finish first")
    identity = {
        "seed": saved.get("seed"),
        "step": progress.best_step,
        "best_value": progress.best_value,
    }
    return Start(folder / str(progress.best_step), progress.rows, identity)


def check_start(task: Task, batch: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    """Raises InputError unless `task.start` is "" or a run whose parameters this task can take.

    batch: any batch of the task's view, for shapes
    """
    if not task.start:
        return
    start = find_start(task, fingerprint)
    shapes, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
    _check_params(start, shapes, task.rows)


def load_start(start: Start, shapes: Any, rows: Mapping[str, int]) -> Params:
    """The parameters of a start. Raises InputError when they do not fit or cannot be read.

    rows: as `Task.rows`
    """
    _check_params(start, shapes, rows)
    with must_read(start.path, _OTHER):
        params = read_params(start.path, shapes)
    check_finite(start.path, params)
    return params


def _check_params(start: Start, shapes: Any, rows: Mapping[str, int]) -> None:
    with must_read(start.path, _OTHER):
        check_files(start.path)
        check_fit(start.path, "params", describe_tree(shapes), start.rows, rows, _OTHER)
