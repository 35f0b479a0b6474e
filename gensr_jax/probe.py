"""What the single losses of the stage `tune` pull at: gradient norms, and conflict of the tasks.

Shapes: all figures are float32 []
Source: the paper's figure of gradient conflict (cosine of the two tasks' gradients at the same
layer of the encoder, same batch); norms of the single losses are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gensr_jax.model import GenSR
from gensr_jax.settings import LossSettings
from gensr_jax.tune import tune_terms

Place = tuple[tuple[str, ...], int | None]  # a path, and the index of a layer in a stack
LOSSES = ("task_rec", "task_search", "task", "contrastive")


def probe_gradients(
    module: GenSR,
    settings: LossSettings,
    params: Any,
    constants: Mapping[str, jax.Array],
    batch: Mapping[str, jax.Array],
) -> dict[str, jax.Array]:
    """Figures of one batch, dropout off.

    `norm_LOSS`: l2 norm over all parameters of the gradient of each of `LOSSES`, before its weight
    in the sum; `norm_contrastive` is absent without that loss.
    `cosine_LAYER`: cosine of the gradients of `task_rec` and `task_search` with respect to q, k, v
    and o of a self-attention layer: first, middle and last of T5's encoder (`encoder_I`), and that
    of the CF view (`cf_view`). 0 where one of the gradients is 0.
    """

    def measure(model_params: Any) -> dict[str, jax.Array]:
        def terms(model: GenSR) -> dict[str, jax.Array]:
            return tune_terms(model, settings, constants, batch, deterministic=True)[1]

        found = module.apply({"params": model_params}, method=terms)
        return {name: found[name] for name in LOSSES if name in found}

    losses, pull_back = jax.vjp(measure, params)
    each = dict(zip(losses, jnp.eye(len(losses)), strict=True))  # loss i alone in column i
    # One after the other, so that the backward pass is compiled once and held once.
    stacked = jax.lax.map(lambda weights: pull_back(weights)[0], each)
    grads = {
        name: jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i, name in enumerate(losses)
    }
    figures = {f"norm_{name}": measure_length(grad) for name, grad in grads.items()}
    for name, place in find_attention(params).items():
        first, second = (take(grads[task], *place) for task in ("task_rec", "task_search"))
        figures[f"cosine_{name}"] = measure_cosine(first, second)
    return figures


def find_attention(params: Mapping[str, Any]) -> dict[str, Place]:
    """The self-attention layers that are looked at: name -> where in the model's parameters."""
    attention: tuple[str, ...] = ("t5", "encoder", "layers", "attention")
    count = len(take(params, (*attention, "q")))
    places: dict[str, Place] = {
        f"encoder_{index + 1}": (attention, index) for index in sorted({0, count // 2, count - 1})
    }
    if "cf_view" in params:
        places["cf_view"] = (("cf_view", "layer", "MultiHeadAttention_0"), None)
    return places


def take(tree: Any, path: Sequence[str], index: int | None = None) -> Any:
    """The subtree at a path; of stacked layers the one at an index."""
    for name in path:
        tree = tree[name]
    return tree if index is None else jax.tree.map(lambda leaf: leaf[index], tree)


def measure_length(tree: Any) -> jax.Array:
    """The l2 norm of all numbers of a tree."""
    return jnp.sqrt(measure_product(tree, tree))


def measure_cosine(first: Any, second: Any) -> jax.Array:
    """The cosine of two trees, each taken as one long vector; 0 where one of them is 0."""
    lengths = measure_length(first) * measure_length(second)
    return measure_product(first, second) / jnp.where(lengths > 0, lengths, 1.0)


def measure_product(first: Any, second: Any) -> jax.Array:
    """The dot product of two trees."""
    parts = jax.tree.map(lambda a, b: jnp.vdot(a, b), first, second)
    return jnp.sum(jnp.stack(jax.tree.leaves(parts)))
