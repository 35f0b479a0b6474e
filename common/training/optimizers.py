"""AdamW from an `Optimizer`: clipping, weight decay, schedule, plateau scale, frozen parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from common.errors import InputError
from common.training.task import Optimizer, Params, Stage

SCHEDULES = ("constant", "cosine")
SMALL = 1 << 20  # numbers of a leaf that `measure_norm` still takes together with others


class Updater(NamedTuple):
    """How a stage changes its parameters: p <- p - rate(step, scale) * direction."""

    # gradients -> directions (AdamW's, decay included), zero for parameters that are not trained
    directions: optax.GradientTransformation
    # rate(step int32 [], scale float32 []) -> float32 [], the learning rate of that step
    rate: Callable[[jax.Array, jax.Array], jax.Array]
    trained: Any  # a tree like the parameters', of Python bools


def make_updater(stage: Stage, params: Params, total_steps: int) -> Updater:
    """Builds a stage's updater.

    params: arrays or shapes; only names and numbers of axes are used
    total_steps: the stage's length if nothing stops it early
    Raises InputError for an unknown schedule and where nothing would be trained.
    """
    settings = stage.optimizer
    where = f"stage {stage.name}, optimizer"
    if settings.schedule not in SCHEDULES:
        raise InputError(
            f"{where}.schedule = {settings.schedule!r}: no such schedule; "
            f"use one of {', '.join(SCHEDULES)}"
        )
    trained = mark_trained(stage, params)
    directions = adamw_directions(settings)
    if settings.rate_share is not None:
        directions = optax.chain(directions, scale_by_name(settings.rate_share))
    if not all(jax.tree.leaves(trained)):
        labels = jax.tree.map(lambda flag: "trained" if flag else "frozen", trained)
        directions = optax.multi_transform(
            {"trained": directions, "frozen": optax.set_to_zero()}, labels
        )
    floor = stage.stopping.plateau_floor

    def rate(step: jax.Array, scale: jax.Array) -> jax.Array:
        planned = schedule_rate(settings, total_steps, step)
        # The floor bounds the plateau rule only; it never lifts a rate above its schedule.
        return jnp.maximum(planned * scale, jnp.minimum(planned, floor))

    return Updater(directions, rate, trained)


def mark_trained(stage: Stage, params: Params) -> Any:
    """A tree like `params` of Python bools, True where the stage trains the parameter."""

    def is_trained(name: str, leaf: Any) -> bool:
        return stage.trainable is None or bool(stage.trainable(name))

    trained = map_named(is_trained, params)
    if not any(jax.tree.leaves(trained)):
        raise InputError(
            f"stage {stage.name}, trainable: true for none of the parameters; "
            "let it name at least one"
        )
    return trained


def hide_trained(stage: Stage, params: Params) -> Params:
    """The parameters as the stage's `prepare` gets them: None for those that it trains."""
    trained = mark_trained(stage, params)
    return jax.tree.map(lambda leaf, flag: None if flag else leaf, params, trained)


def map_named(function: Callable[[str, Any], Any], params: Params) -> Any:
    """Maps `function(name, leaf)` over a tree, with names as "encoder/layer_0/kernel"."""

    return jax.tree_util.tree_map_with_path(lambda path, leaf: function(_join(path), leaf), params)


def name_leaves(params: Params) -> list[tuple[str, Any]]:
    """The leaves of a tree in order, with the names of `map_named`."""
    return [(_join(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(params)]


def _join(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def scale_by_name(share: Callable[[str], float]) -> optax.GradientTransformation:
    """Multiplies each parameter's direction by `share(name)`: learning rates by name."""

    def update(directions: Any, state: Any, params: Params | None = None) -> tuple[Any, Any]:
        return map_named(lambda name, leaf: leaf * share(name), directions), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def adamw_directions(settings: Optimizer) -> optax.GradientTransformation:
    """AdamW without its learning rate: clip, moments, decoupled decay.

    Source: Loshchilov and Hutter 2019. Decay on arrays of two or more axes only (not on biases
    and gains) is common practice; `settings.decayed` may leave out more.
    """
    parts = []
    if settings.clip_norm > 0:
        parts.append(clip_norm(settings.clip_norm))
    parts.append(optax.scale_by_adam(settings.b1, settings.b2, settings.eps))
    if settings.weight_decay > 0:

        def mark_decayed(params: Params) -> Any:
            return map_named(is_decayed, params)

        def is_decayed(name: str, array: Any) -> bool:
            return array.ndim >= 2 and (settings.decayed is None or settings.decayed(name))

        parts.append(optax.add_decayed_weights(settings.weight_decay, mask=mark_decayed))
    return optax.chain(*parts)


def clip_norm(most: float) -> optax.GradientTransformation:
    """`optax.clip_by_global_norm` by `measure_norm`, which the step measures as well."""

    def update(grads: Any, state: Any, params: Params | None = None) -> tuple[Any, Any]:
        norm = measure_norm(grads)
        return jax.tree.map(lambda g: jnp.where(norm < most, g, g / norm * most), grads), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def measure_norm(tree: Any) -> jax.Array:
    """The l2 norm of all numbers of a tree together, float32 [].

    Small leaves go as one vector. On a GPU a sum for each would be joined with the update of its
    leaf, which then no longer writes in place: 146 copies a step in LCR instead of 11.
    """
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    small = [leaf.reshape(-1) for leaf in leaves if leaf.size <= SMALL]
    parts = [leaf for leaf in leaves if leaf.size > SMALL]
    if small:
        parts.append(jnp.concatenate(small))
    return jnp.sqrt(sum(jnp.sum(jnp.square(part)) for part in parts))


def select_trained(tree: Any, trained: Any) -> list[jax.Array]:
    """The leaves of `tree` where `trained` is True."""
    pairs = zip(jax.tree.leaves(tree), jax.tree.leaves(trained), strict=True)
    return [leaf for leaf, flag in pairs if flag]


def schedule_rate(settings: Optimizer, total_steps: int, step: jax.Array | int) -> jax.Array:
    """The learning rate of a step, before any plateau scale.

    step: int32 [], updates finished before this one: 0 .. total_steps - 1
    Warm-up rises in a straight line and reaches the full rate after `warmup_steps` updates; its
    first step is not zero. The cosine is at `final_fraction` of the rate at the last step.
    """
    done = jnp.asarray(step, jnp.float32)
    warm = jnp.minimum(1.0, (done + 1.0) / max(settings.warmup_steps, 1))
    if settings.schedule == "constant":
        return settings.learning_rate * warm
    length = max(total_steps - 1 - settings.warmup_steps, 1)
    share = jnp.clip((done - settings.warmup_steps) / length, 0.0, 1.0)
    cosine = 0.5 * (1.0 + jnp.cos(jnp.pi * share))
    final = settings.final_fraction
    return settings.learning_rate * warm * (final + (1.0 - final) * cosine)
