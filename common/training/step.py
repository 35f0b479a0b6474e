"""The training step: one compiled function of (state, constants, batch, key, rate scale).

Shapes: [B] batch
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from common.precision import exact_products
from common.training.initial import plan_init
from common.training.mesh import full_sharding, row_sharding
from common.training.optimizers import Updater, hide_trained, measure_norm, select_trained
from common.training.sharding import find_shardings, place_params, place_shapes
from common.training.state import TrainState, derive_key, step_key
from common.training.task import Batch, Constants, Metrics, Params, Stage, Task

Step = Callable[[TrainState, Constants, Batch, jax.Array, jax.Array], tuple[TrainState, Metrics]]
OWN_METRICS = ("loss", "grad_norm", "update_norm", "param_norm", "learning_rate", "examples")


def place_key(seed: int, name: str, mesh: Mesh) -> jax.Array:
    """The key of `derive_key`, a copy on every device."""
    # Made there: a key on one device cannot be copied to the devices of other processes.
    return jax.jit(partial(derive_key, seed, name), out_shardings=full_sharding(mesh))()


def init_params(task: Task, key: jax.Array, batch: Batch, mesh: Mesh) -> tuple[Params, Constants]:
    """Runs `task.init` on the devices: tables split, a full copy of the constants."""
    init, arguments = make_init(task, key, batch, mesh)
    made: tuple[Params, Constants] = init(*arguments)
    return made


def make_init(
    task: Task, key: jax.Array, batch: Batch, mesh: Mesh
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What `init_params` runs, jitted, and its arguments. batch: arrays, or shapes to be compiled
    for"""
    params, _ = jax.eval_shape(task.init, key, batch)
    shardings = (place_params(params, mesh, task.split_tables), full_sharding(mesh))
    make, arguments = plan_init(task.init, key, batch)
    return jax.jit(make, out_shardings=shardings), arguments


def prepare_constants(stage: Stage, params: Params, constants: Constants, mesh: Mesh) -> Constants:
    """The constants of a stage, by its `prepare` if it has one: a full copy on each device.

    params: of any moment of the stage: those that it trains are not looked at
    """
    if stage.prepare is None:
        return constants
    kept = hide_trained(stage, params)
    prepare = exact_products()(stage.prepare)  # scores hang on them
    return jax.jit(prepare, out_shardings=full_sharding(mesh))(kept, constants)


def init_state(
    params: Params, updater: Updater, mesh: Mesh, keeps_start: bool = False
) -> TrainState:
    """The state before a stage's first step. Takes `params` over: they must not be used again."""
    start = partial(_start, updater=updater, keeps_start=keeps_start)
    # Without out_shardings the moments of a split table would all land on one device.
    shardings = find_shardings(jax.eval_shape(start, params), mesh, params)
    return jax.jit(start, out_shardings=shardings, donate_argnums=0)(params)


def describe_state(
    params: Params, updater: Updater, mesh: Mesh, keeps_start: bool = False
) -> TrainState:
    """Shapes, dtypes and shardings of a stage's state, for restoring.

    params: arrays, or shapes with shardings
    """
    start = partial(_start, updater=updater, keeps_start=keeps_start)
    return place_shapes(jax.eval_shape(start, params), mesh, params)


def _start(params: Params, updater: Updater, keeps_start: bool) -> TrainState:
    kept = jax.tree.map(jnp.copy, params) if keeps_start else None
    return TrainState(jnp.int32(0), params, updater.directions.init(params), kept)


def make_step(
    stage: Stage,
    updater: Updater,
    mesh: Mesh,
    state: TrainState,
    count: int = 1,
    parts: int = 1,
) -> Step:
    """Compiles a stage's step for a mesh.

    state: any state of the stage, for the places of its arrays
    count: steps of one call; above 1 its batches are [count, B, ...] and its metrics [count]
    parts: of a batch, whose gradients are made one after the other, for memory; see `add_parts`
    The function takes the state (donated: it must not be used again), the constants, a batch
    [B, ...] split by rows, the stage's key and the plateau scale float32 [], and returns the next
    state and float32 scalars: the task's own metrics and

    loss           of the batch, before the update
    grad_norm      l2 norm of the trained parameters' gradients, before clipping
    update_norm    l2 norm of what was added to the parameters
    param_norm     l2 norm of all parameters, after the update
    learning_rate  of this step
    examples       rows of the batch that are not padding
    """

    def step(
        state: TrainState, constants: Constants, batch: Batch, key: jax.Array, rate_scale: jax.Array
    ) -> tuple[TrainState, Metrics]:
        if stage.keeps_start:
            constants = {**constants, "start": state.start}

        def differentiate(batch: Batch, key: jax.Array) -> tuple[tuple[jax.Array, Metrics], Params]:
            run = jax.value_and_grad(stage.loss, has_aux=True)
            with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):  # a loss may ask for it
                return run(state.params, constants, batch, key)

        own_key = step_key(key, state.step)
        if parts == 1:
            (loss, own), grads = differentiate(batch, own_key)
        else:
            (loss, own), grads = add_parts(differentiate, batch, own_key, parts)
        chex.assert_shape([loss, *own.values()], ())
        chex.assert_type(loss, jnp.float32)
        if clash := sorted(set(own) & set(OWN_METRICS)):
            raise ValueError(f"stage {stage.name}: metric names {clash} belong to the trainer")
        directions, opt_state = updater.directions.update(grads, state.opt_state, state.params)
        rate = updater.rate(state.step, rate_scale)
        updates = jax.tree.map(lambda direction: -rate * direction, directions)
        # Frozen arrays are handed on: adding zeros to a large one costs as much as training it.
        params = jax.tree.map(
            lambda old, update, flag: old + update if flag else old,
            state.params,
            updates,
            updater.trained,
        )
        metrics = {
            **own,
            "loss": loss,
            "grad_norm": measure_norm(select_trained(grads, updater.trained)),
            "update_norm": measure_norm(updates),
            "param_norm": measure_norm(params),
            "learning_rate": rate,
            "examples": jnp.sum(batch["valid"], dtype=jnp.float32),
        }
        return TrainState(state.step + 1, params, opt_state, state.start), metrics

    def run_all(
        state: TrainState, constants: Constants, batches: Batch, key: jax.Array, scale: jax.Array
    ) -> tuple[TrainState, Metrics]:
        return jax.lax.scan(
            lambda state, batch: step(state, constants, batch, key, scale), state, batches
        )

    full, rows = full_sharding(mesh), row_sharding(mesh, stacked=count > 1)
    places = find_shardings(state, mesh, state.params)
    return jax.jit(
        run_all if count > 1 else step,
        in_shardings=(places, full, rows, full, full),
        out_shardings=(places, full),
        donate_argnums=0,
    )


def add_parts(
    differentiate: Callable[[Batch, jax.Array], Any], batch: Batch, key: jax.Array, parts: int
) -> Any:
    """What a whole batch gives, out of parts of it that are run one after the other.

    differentiate(part, key) -> a tree of means over the part's valid rows
    Returns the mean of the trees, each weighted by its valid rows: for a loss that is a mean over
    rows, what the whole batch gives. A loss that compares the rows of a batch (in-batch negatives)
    sees those of a part only. Dropout draws other numbers than for the whole batch.
    """
    # Part i has rows i, i + parts, ...: so each device keeps the rows that it has.
    split = jax.tree.map(
        lambda array: array.reshape(len(array) // parts, parts, *array.shape[1:]).swapaxes(0, 1),
        batch,
    )
    weights = jnp.sum(split["valid"], axis=1, dtype=jnp.float32)
    weights = weights / jnp.maximum(weights.sum(), 1.0)

    def add(total: Any, part: tuple[Batch, jax.Array, jax.Array]) -> tuple[Any, None]:
        rows, weight, number = part
        found = differentiate(rows, jax.random.fold_in(key, number))
        return jax.tree.map(lambda old, new: old + weight * new, total, found), None

    first = jax.tree.map(lambda array: array[0], split)
    zeros = jax.tree.map(
        lambda shape: jnp.zeros(shape.shape, shape.dtype), jax.eval_shape(differentiate, first, key)
    )
    return jax.lax.scan(add, zeros, (split, weights, jnp.arange(parts)))[0]


def make_probe(stage: Stage, mesh: Mesh) -> Callable[[Params, Constants, Batch], Metrics] | None:
    """Compiles a stage's probe for a mesh; None where it has none."""
    if stage.probe is None:
        return None
    return jax.jit(exact_products()(stage.probe), out_shardings=full_sharding(mesh))
