"""Whether the fields of a task are of the kinds that `common.training.task` annotates."""

from __future__ import annotations

from typing import Any

from common.data.negatives import SAMPLINGS
from common.data.view import View
from common.errors import InputError
from common.fields import check_fields
from common.training.task import Task

_COUNTS = ("rec_length", "search_length", "clicks", "min_history", "negatives")


def check_kinds(task: Any, built: str = "build") -> None:
    """Raises InputError unless a value is a task whose fields may have the values that they have.

    built: what gave the value, for the error
    What the task's functions give is looked at by `common.training.check_task`.
    """
    if not isinstance(task, Task):
        raise InputError(
            f"{built}: gives a {type(task).__name__}; give a Task, see common/training/task.py"
        )
    where = f"method {task.name}"
    check_fields(where, task)
    known = ("rec", "search")
    if not task.tasks or not set(task.tasks) <= {*known} or len(set(task.tasks)) < len(task.tasks):
        raise InputError(f"{where}, tasks: is {task.tasks}; give ('rec',), ('search',) or {known}")
    for served in task.retrievers:
        if served not in task.tasks:
            use = " or ".join(map(repr, task.tasks))
            raise InputError(f"{where}, retrievers: has {served!r}; use {use}")
    _check_view(where, task.view)
    names = [stage.name for stage in task.stages]
    for stage in task.stages:
        if names.count(stage.name) > 1:
            raise InputError(f"{where}: two stages have the name {stage.name!r}; rename one")
        at = f"{where}, stage {stage.name}"
        for name in ("batch_size", "epochs", "eval_every_epochs"):
            value = getattr(stage, name)
            if value is not None and not value > 0:
                raise InputError(f"{at}, {name}: is {value}; give more than 0")
        _check_view(at, stage.view)


def _check_view(where: str, view: View) -> None:
    words = {"task": ("rec", "search", "both"), "negative_sampling": SAMPLINGS}
    for name, allowed in words.items():
        word = getattr(view, name)
        if word not in allowed:
            raise InputError(f"{where}, view, {name}: is {word!r}; use {' or '.join(allowed)}")
    for name in _COUNTS:
        number = getattr(view, name)
        if number < 0:
            raise InputError(f"{where}, view, {name}: is {number}; give 0 or more")
