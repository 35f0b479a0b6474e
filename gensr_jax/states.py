"""What studies read out of a trained GenSR: inputs, last states, and gradients of one task.

The discriminative twin is the same module with another head, so both are read in the same way.

Shapes: [B] lists  [C] candidates, the positive in column 0  [D] T5 width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from common.data.view import candidate_items
from gensr_jax.model import GenSR
from gensr_jax.settings import LossSettings
from gensr_jax.tune import answer_difference, tune_terms

Arrays = Mapping[str, jax.Array]


class States(NamedTuple):
    """One forward pass, float32."""

    tokens: jax.Array  # [B, C, 4, D], the soft tokens before the encoder
    state: jax.Array  # [B, C, D], the last state before the head
    difference: jax.Array  # [B, C], z = l_Yes - l_No


def read_states(module: GenSR, params: Any, constants: Arrays, batch: Arrays) -> States:
    """Soft tokens, last states and answers of a batch's candidates, without dropout.

    params: the part `model` of a task's parameters; constants: those of the stage `tune`
    All candidates at once: B times C is what the device has to hold.
    """
    candidates = candidate_items(batch)

    def run(model: GenSR) -> States:
        histories = model.encode_histories(batch, constants, deterministic=True)
        soft = model.make_tokens(histories, candidates, constants)
        state = model.find_state(batch, soft.tokens, constants, deterministic=True)
        difference = answer_difference(model, model.read_answer(state, batch))
        return States(soft.tokens.astype(jnp.float32), state.astype(jnp.float32), difference)

    return module.apply({"params": params}, method=run)


def encoder_gradient(
    module: GenSR,
    settings: LossSettings,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    task: str,
) -> Any:
    """The gradient of one task's loss in the parameters of T5's encoder, without dropout.

    task: "rec" or "search"; lists of the other one do not count
    Returns a tree like `params["t5"]["encoder"]`.
    """

    def terms(model: GenSR) -> tuple[jax.Array, dict[str, jax.Array]]:
        return tune_terms(model, settings, constants, batch, deterministic=True)

    def task_loss(encoder: Any) -> jax.Array:
        whole = {**params, "t5": {**params["t5"], "encoder": encoder}}
        return module.apply({"params": whole}, method=terms)[1][f"task_{task}"]

    return jax.grad(task_loss)(params["t5"]["encoder"])
