"""Whether a method keeps the contract of `common.training.task`, known before an hour has gone by.

Its functions are traced for shapes (`jax.eval_shape`); nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.data.view import HOST_FIELDS
from common.errors import InputError
from common.training.optimizers import hide_trained, name_leaves
from common.training.step import OWN_METRICS
from common.training.task import RESERVED, Constants, Params, Stage, Task

_ITEMS = 3  # of the catalogue, asked for at once


def check_task(
    task: Task,
    batch: Mapping[str, Any],
    stage_batch: Callable[[Stage], Mapping[str, Any]],
    *,
    evidence: bool = False,
) -> None:
    """Raises InputError naming the function of a method that gives something else than it should.

    batch: of the task's view; stage_batch(stage) -> a batch that it trains on
    evidence: the run wants figures of its evidence, so `explain` must have "mean_evidence"
    What a function raises itself comes through as it is: its author needs the traceback.
    """
    where = f"method {task.name}"
    if not task.tasks or not set(task.tasks) <= {"rec", "search"}:
        raise InputError(f"{where}: serves {task.tasks}; give rec, search or both")
    given = _shapes(batch)
    rows = given["target"].shape[0]
    params, constants = jax.eval_shape(task.init, jax.random.key(0), given)
    tables = [name for name, leaf in name_leaves(params) if leaf.shape]
    for table in sorted({*task.split_tables} - {*tables}):
        raise InputError(
            f"{where}, split_tables: no table {table!r}; use some of {', '.join(tables)}"
        )
    taken = sorted(RESERVED & constants.keys()) if isinstance(constants, dict) else []
    if taken:
        raise InputError(f"{where}: has a constant {taken[0]!r}, which is the trainer's; rename it")
    for stage in task.stages:
        constants = _check_stage(where, stage, params, constants, _shapes(stage_batch(stage)))
    columns = 1 + given["negatives"].shape[1]
    _expect(f"{where}, score", jax.eval_shape(task.score, params, constants, given), rows, columns)
    if task.score_catalogue is not None:
        items = jax.ShapeDtypeStruct((_ITEMS,), jnp.int32)
        scores = jax.eval_shape(task.score_catalogue, params, constants, given, items)
        _expect(f"{where}, score_catalogue", scores, rows, _ITEMS)
    if task.explain is not None:
        _check_explain(where, task, params, constants, given, evidence)


def _check_stage(
    where: str, stage: Stage, params: Params, constants: Constants, batch: dict[str, Any]
) -> Constants:
    """Checks a stage's loss; returns its constants."""
    if stage.prepare is not None:
        constants = _prepare(where, stage, params, constants)
    own = {**constants, "start": params} if stage.keeps_start else constants
    found = jax.eval_shape(stage.loss, params, own, batch, jax.random.key(0))
    at = f"{where}, stage {stage.name}, loss"
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
        raise InputError(f"{at}: gives {_name(found)}; give (loss, {{name: number}})")
    loss, metrics = found
    _expect(at, loss)
    for name, value in metrics.items():
        _expect(f"{at}, metric {name!r}", value)
        if name in OWN_METRICS:
            raise InputError(f"{at}: has a metric {name!r}, which is the trainer's; rename it")
    return constants


def _prepare(where: str, stage: Stage, params: Params, constants: Constants) -> Constants:
    """The constants that a stage makes of others, as a run has them made."""
    assert stage.prepare is not None
    wanted = jax.eval_shape(stage.prepare, params, constants)  # its own mistakes come through
    kept = hide_trained(stage, params)
    cause: Exception | None = None
    try:
        if jax.eval_shape(stage.prepare, kept, constants) == wanted:
            return wanted
    except Exception as error:  # whatever a method does with a None
        cause = error
    raise InputError(
        f"{where}, stage {stage.name}, prepare: reads parameters that the stage trains, which are "
        "None there; read them in the loss, or leave them out by `trainable`"
    ) from cause


def _check_explain(
    where: str, task: Task, params: Params, constants: Constants, batch: Any, evidence: bool
) -> None:
    assert task.explain is not None
    shown = jax.eval_shape(task.explain, params, constants, batch)
    if not isinstance(shown, Mapping):
        raise InputError(f"{where}, explain: gives {_name(shown)}; give {{name: array}}")
    if evidence and "rec" in task.tasks:
        if "mean_evidence" not in shown:
            raise InputError(
                f"{where}, explain: has no mean_evidence, which config.eval.evidence asks for; "
                "give it, or set config.eval.evidence=false"
            )
        rows, searches = batch["search_query"].shape
        _expect(f"{where}, explain, mean_evidence", shown["mean_evidence"], rows, searches + 1)


def _expect(where: str, found: Any, *shape: int) -> None:
    if not hasattr(found, "dtype") or found.dtype != jnp.float32 or found.shape != shape:
        wanted = f"float32 {list(shape)}" if shape else "a float32 number"
        raise InputError(f"{where}: gives {_name(found)}; give {wanted}")


def _name(found: Any) -> str:
    if hasattr(found, "dtype"):
        return f"{found.dtype} {list(found.shape)}" if found.shape else f"a {found.dtype} number"
    return f"a {type(found).__name__}"


def _shapes(batch: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: jax.ShapeDtypeStruct(field.shape, field.dtype)
        for name, field in batch.items()
        if name not in HOST_FIELDS
    }
