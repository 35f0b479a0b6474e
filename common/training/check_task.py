"""Whether a method keeps the contract of `common.training.task`, known before an hour has gone by.

Its functions are traced for shapes (`jax.eval_shape`); nothing is computed. The sizes that the data
leaves open are all different: rows that are mistaken for candidates would else go unseen.

Shapes: [B] batch  [C] candidates  [n] negatives of a view or catalogue items  [N] searches
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common.data.view import HOST_FIELDS
from common.errors import InputError
from common.training.optimizers import hide_trained, mark_trained, name_leaves
from common.training.step import OWN_METRICS
from common.training.task import RESERVED, Constants, Params, Stage, Task, judge_as

_NUMBERS = (jax.Array, np.ndarray, np.generic, bool, int, float)
Shapes = dict[str, jax.ShapeDtypeStruct]  # of a batch, by field


def check_task(
    task: Task,
    batch: Mapping[str, Any],
    stage_batches: Mapping[str, Mapping[str, Any]],
    *,
    evidence: bool = False,
) -> None:
    """Raises InputError naming the function of a method that gives something else than it should.

    task: as `common.training.check_kinds` lets pass
    batch: of the task's view, without negatives; stage_batches: by stage, one that it trains on
    evidence: the run wants figures of its evidence, so `explain` must have "mean_evidence"
    What a function raises itself comes through as it is: its author needs the traceback.
    """
    where = f"method {task.name}"
    params, constants = _check_init(where, task, _shapes(batch))
    free = _free_sizes(batch, params, constants)
    # Whole eights, as the rows and candidates of an evaluation are; the catalogue's are odd.
    rows, columns, items = next(free), next(free), next(free) + 1
    given = _resize(_shapes(batch), rows, 0)
    judged: list[tuple[str, Task, Constants]] = []
    for stage in task.stages:
        found = _shapes(stage_batches[stage.name])
        if not stage.view.packed:
            found = _resize(found, rows, stage.view.negatives)
        constants = _check_stage(where, stage, params, constants, found)
        if stage.score is not None or stage.score_catalogue is not None:
            judged.append((f"{where}, stage {stage.name}", judge_as(task, stage), constants))
    for at, one, own in ((where, task, constants), *judged):
        scores = _trace(f"{at}, score", one.score, params, own, _resize(given, rows, columns - 1))
        _expect(f"{at}, score", scores, rows, columns)
        if one.score_catalogue is not None:
            _check_catalogue(at, one.score_catalogue, params, own, given, items)
    for served, retriever in task.retrievers.items():
        if retriever.other is None:
            at = f"{where}, retrievers {served}"
            _check_catalogue(at, retriever.score_catalogue, params, constants, given, items)
    if task.explain is not None:
        _check_explain(where, task, params, constants, given, evidence)


def _check_init(where: str, task: Task, batch: Shapes) -> tuple[Params, Constants]:
    at = f"{where}, init"
    found = _trace(at, task.init, jax.random.key(0), batch)
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
        raise InputError(f"{at}: gives {_name(found)}; give (parameters, {{name: constant}})")
    params, constants = found
    for name, leaf in name_leaves(params):
        if leaf.dtype != jnp.float32:
            raise InputError(
                f"{at}: the parameter {name} is {leaf.dtype}; make it float32, or a constant"
            )
    tables = [name for name, leaf in name_leaves(params) if leaf.shape]
    for table in sorted({*task.split_tables} - {*tables}):
        mend = f"use some of {', '.join(tables)}" if tables else "leave it empty"
        raise InputError(f"{where}, split_tables: no table {table!r}; {mend}")
    for name in sorted(RESERVED & constants.keys()):
        raise InputError(f"{where}: has a constant {name!r}, which is the trainer's; rename it")
    return params, constants


def _check_stage(
    where: str, stage: Stage, params: Params, constants: Constants, batch: Shapes
) -> Constants:
    """Checks a stage's loss and probe; returns its constants."""
    try:
        mark_trained(stage, params)
    except InputError as error:
        raise InputError(f"{where}, {error}") from error
    where = f"{where}, stage {stage.name}"
    if stage.prepare is not None:
        constants = _prepare(f"{where}, prepare", stage, params, constants)
    own = {**constants, "start": params} if stage.keeps_start else constants
    at = f"{where}, loss"
    found = _trace(at, stage.loss, params, own, batch, jax.random.key(0))
    if not isinstance(found, tuple) or len(found) != 2 or not isinstance(found[1], Mapping):
        raise InputError(f"{at}: gives {_name(found)}; give (loss, {{name: number}})")
    loss, metrics = found
    _expect(at, loss)
    _expect_metrics(at, metrics)
    for name in OWN_METRICS:
        if name in metrics:
            raise InputError(f"{at}: has a metric {name!r}, which is the trainer's; rename it")
    if stage.probe is not None:
        at = f"{where}, probe"
        _expect_metrics(at, _trace(at, stage.probe, params, constants, batch))
    return constants


def _prepare(where: str, stage: Stage, params: Params, constants: Constants) -> Constants:
    """The constants that a stage makes of others, as a run has them made."""
    assert stage.prepare is not None
    wanted = _trace(where, stage.prepare, params, constants)  # its own mistakes come through
    if not isinstance(wanted, Mapping):
        raise InputError(f"{where}: gives {_name(wanted)}; give {{name: constant}}")
    kept = hide_trained(stage, params)
    cause: Exception | None = None
    try:
        if jax.eval_shape(stage.prepare, kept, constants) == wanted:
            return wanted
    except Exception as error:  # whatever a method does with a None
        cause = error
    raise InputError(
        f"{where}: reads parameters that the stage trains, which are None there; "
        "read them in the loss, or leave them out by `trainable`"
    ) from cause


def _check_catalogue(
    where: str, score: Callable[..., Any], params: Params, constants: Constants, batch: Shapes,
    items: int,
) -> None:  # fmt: skip
    at, asked = f"{where}, score_catalogue", jax.ShapeDtypeStruct((items,), jnp.int32)
    found = _trace(at, score, params, constants, batch, asked)
    _expect(at, found, batch["target"].shape[0], items)


def _check_explain(
    where: str, task: Task, params: Params, constants: Constants, batch: Shapes, evidence: bool
) -> None:
    at = f"{where}, explain"
    assert task.explain is not None
    shown = _trace(at, task.explain, params, constants, batch)
    if not isinstance(shown, Mapping):
        raise InputError(f"{at}: gives {_name(shown)}; give {{name: array}}")
    if evidence and "rec" in task.tasks:
        if "mean_evidence" not in shown:
            raise InputError(
                f"{at}: has no mean_evidence, which config.eval.evidence asks for; "
                "give it, or set config.eval.evidence=false"
            )
        rows, searches = batch["search_query"].shape
        _expect(f"{at}, mean_evidence", shown["mean_evidence"], rows, searches + 1)


def _trace(where: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The shapes of what a function gives. Raises InputError where that is no tree of arrays."""

    def run(*given: Any) -> Any:
        found = function(*given)
        if found is None:
            raise InputError(f"{where}: gives None; let it return what it makes")
        for leaf in jax.tree.leaves(found):
            if not isinstance(leaf, _NUMBERS):
                raise InputError(f"{where}: gives {_name(leaf)}; give arrays")
        return found

    return jax.eval_shape(run, *arguments)


def _expect(where: str, found: Any, *shape: int) -> None:
    if not hasattr(found, "dtype") or found.dtype != jnp.float32 or found.shape != shape:
        wanted = f"float32 {list(shape)}" if shape else "a float32 number"
        raise InputError(f"{where}: gives {_name(found)}; give {wanted}")


def _expect_metrics(where: str, found: Any) -> None:
    if not isinstance(found, Mapping):
        raise InputError(f"{where}: gives {_name(found)}; give {{name: number}}")
    for name, value in found.items():
        _expect(f"{where}, metric {name!r}", value)


def _name(found: Any) -> str:
    if hasattr(found, "dtype"):
        return f"{found.dtype} {list(found.shape)}" if found.shape else f"a {found.dtype} number"
    return f"a {type(found).__name__}"


def _free_sizes(*trees: Any) -> Iterator[int]:
    """Multiples of 8 that no array has as a size, nor one more or less."""
    taken = {size for leaf in jax.tree.leaves(trees) for size in leaf.shape}
    return (size for size in count(8, 8) if not taken & {size - 1, size, size + 1})


def _resize(batch: Shapes, rows: int, negatives: int) -> Shapes:
    """The batch with so many rows and negatives; the other sizes are its view's."""
    sized = {
        name: jax.ShapeDtypeStruct((rows, *field.shape[1:]), field.dtype)
        for name, field in batch.items()
    }
    if "negatives" in sized:
        sized["negatives"] = jax.ShapeDtypeStruct((rows, negatives), jnp.int32)
    return sized


def _shapes(batch: Mapping[str, Any]) -> Shapes:
    return {
        name: jax.ShapeDtypeStruct(field.shape, field.dtype)
        for name, field in batch.items()
        if name not in HOST_FIELDS
    }
