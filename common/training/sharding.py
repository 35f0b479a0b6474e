"""Parameters over the devices: which are split, by name, and how their rows are padded for it.

A mesh has two axes. "data" splits the rows of a batch. "model" splits the rows of the tables that
`Task.split_tables` names, and of their moments, so that a table may be larger than one device's
memory. Everything else is a full copy on every device.

XLA splits arrays into equal parts only, and a catalogue has any number of items. So a task on a
mesh with a "model" axis holds tables with rows of zeros at the end (`pad_task`); its functions
never see them. No gradient reaches those rows, so they stay zeros, and a checkpoint of one mesh
goes on on another: the rows of zeros are cut off or added where it is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from common.training.mesh import MODEL, full_sharding
from common.training.optimizers import map_named, name_leaves
from common.training.pretrained import take_pretrained
from common.training.task import Batch, Constants, Params, Stage, Task

Trim = Callable[[Params], Params]
Described = Mapping[str, tuple[tuple[int, ...], str]]  # name -> shape, dtype


def place_params(params: Params, mesh: Mesh, tables: Collection[str]) -> Any:
    """The sharding of every parameter: rows over "model" where its name is one of `tables`.

    params: arrays or shapes; tables: see `Task.split_tables`
    """

    def place(name: str, leaf: Any) -> NamedSharding:
        return NamedSharding(mesh, PartitionSpec(MODEL) if name in tables else PartitionSpec())

    return map_named(place, params)


def find_shardings(tree: Any, mesh: Mesh, params: Params) -> Any:
    """The sharding of every array of a training state: as its parameter lies.

    params: arrays, or shapes with shardings. Moments are named after their parameters, as
    "opt_state/0/mu/cf/item"; an array that is named after none is a full copy.
    """
    places = {name: getattr(leaf, "sharding", None) for name, leaf in name_leaves(params)}

    def follow(name: str, leaf: Any) -> NamedSharding:
        while name not in places and "/" in name:
            name = name.partition("/")[2]
        spec = getattr(places.get(name), "spec", PartitionSpec())
        return NamedSharding(mesh, spec if len(spec) <= len(leaf.shape) else PartitionSpec())

    return map_named(follow, tree)


def place_shapes(tree: Any, mesh: Mesh, params: Params) -> Any:
    """A tree of shapes with the shardings of `find_shardings`."""
    return jax.tree.map(
        lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
        tree,
        find_shardings(tree, mesh, params),
    )


def pad_task(task: Task, mesh: Mesh, batch: Mapping[str, Any]) -> Task:
    """The task with parameters that can be split over the mesh; the same where there is no need.

    batch: any batch of the task's view, for shapes
    """
    parts = mesh.shape[MODEL]
    if parts == 1:
        return task
    shapes, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
    rows = {
        name: leaf.shape[0]
        for name, leaf in name_leaves(shapes)
        if name in task.split_tables and leaf.shape[0] % parts
    }

    def pad(params: Params) -> Params:
        def add_rows(name: str, leaf: jax.Array) -> jax.Array:
            missing = -rows.get(name, 0) % parts
            return jnp.pad(leaf, [(0, missing), *[(0, 0)] * (leaf.ndim - 1)]) if missing else leaf

        return map_named(add_rows, params)

    def trim(params: Params) -> Params:
        return map_named(lambda name, leaf: leaf[: rows[name]] if name in rows else leaf, params)

    def init(key: jax.Array, batch: Batch) -> tuple[Params, Constants]:
        params, constants = task.init(key, batch)
        return pad(params), constants

    def pretrain(params: Params) -> Params:
        whole = jax.jit(trim, out_shardings=full_sharding(mesh))(params)
        places = find_shardings(params, mesh, params)
        return jax.jit(pad, out_shardings=places)(take_pretrained(task, whole))

    return task._replace(
        init=init,
        stages=tuple(_trim_stage(stage, trim) for stage in task.stages),
        score=_trim_first(task.score, trim),
        score_catalogue=_trim_first(task.score_catalogue, trim),
        explain=_trim_first(task.explain, trim),
        retrievers={
            name: found if found.other else replace(
                found, score_catalogue=_trim_first(found.score_catalogue, trim)
            )
            for name, found in task.retrievers.items()
        },
        pretrained=task.pretrained and pretrain,
        rows=rows,
    )  # fmt: skip


def _trim_stage(stage: Stage, trim: Trim) -> Stage:
    def loss(params: Params, constants: Constants, batch: Batch, key: jax.Array) -> Any:
        if stage.keeps_start:
            constants = {**constants, "start": trim(constants["start"])}
        return stage.loss(trim(params), constants, batch, key)

    others = ("prepare", "probe", "score", "score_catalogue")
    return stage._replace(
        loss=loss, **{name: _trim_first(getattr(stage, name), trim) for name in others}
    )


def _trim_first(function: Callable[..., Any] | None, trim: Trim) -> Any:
    """The function of (params, ...) with its parameters trimmed first; None stays None."""
    if function is None:
        return None
    return lambda params, *rest: function(trim(params), *rest)


def cut_rows(described: Described, rows: Mapping[str, int]) -> Described:
    """Names and shapes of a checkpoint's arrays without the rows that were added for a mesh.

    rows: of the tables, by name, as `Task.rows`; moments end in the name of their table
    """

    def cut(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        for table, count in rows.items():
            if name == table or name.endswith("/" + table):
                return (count, *shape[1:])
        return shape

    return {name: (cut(name, shape), dtype) for name, (shape, dtype) in described.items()}


def count_numbers(params: Params, rows: Mapping[str, int]) -> int:
    """Numbers in a tree of parameters, without the rows of `Task.rows` that were added."""
    described = {name: (leaf.shape, str(leaf.dtype)) for name, leaf in name_leaves(params)}
    return sum(math.prod(shape) for shape, _ in cut_rows(described, rows).values())
