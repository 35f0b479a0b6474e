"""Parameters of a published checkpoint in the places of those that `init` made."""

from __future__ import annotations

from typing import Any

import jax

from common.errors import InputError
from common.training.optimizers import name_leaves
from common.training.task import Params, Task


def take_pretrained(task: Task, params: Params) -> Params:
    """What `Task.pretrained` gives for the parameters of `init`.

    Raises InputError where it is another tree than theirs, or has another shape or dtype.
    """
    assert task.pretrained is not None
    # Before the call, which may give its arrays up.
    wanted = _describe(params)
    tree: Any = jax.tree.structure(params)
    found = task.pretrained(params)
    given = _describe(found)
    mend = "give the parameters of init with other values"
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            raise InputError(
                f"method {task.name}, pretrained: gives {given.get(name, 'nothing')} for {name!r}, "
                f"where init has {wanted.get(name, 'nothing')}; {mend}"
            )
    if jax.tree.structure(found) != tree:
        raise InputError(f"method {task.name}, pretrained: gives another tree than init; {mend}")
    return found


def _describe(params: Params) -> dict[str, str]:
    return {
        name: f"{leaf.dtype} {list(leaf.shape)}" if hasattr(leaf, "dtype") else f"the value {leaf}"
        for name, leaf in name_leaves(params)
    }
