"""Stage `tune` of GenSR: one model answers Yes or No for both tasks.

Shapes: [B] lists  [C] candidates, the positive in column 0  [D] T5 width  [V] vocabulary
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from common.data.view import candidate_items
from common.nn.losses import masked_average
from gensr_jax.alignment import contrast_views, normalise, published_contrast
from gensr_jax.model import GenSR, SoftTokens
from gensr_jax.settings import LossSettings

Arrays = Mapping[str, jax.Array]
SLOT_NAMES = ("history_cf", "history_semantic", "candidate_cf", "candidate_semantic")


def tune_loss(
    module: GenSR,
    settings: LossSettings,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """L = L_task + lambda L_contrast over the lists of both tasks, with its parts beside it.

    Deterministic in (params, batch, key); `key` drives dropout.
    """

    def terms(model: GenSR) -> tuple[jax.Array, dict[str, jax.Array]]:
        return tune_terms(model, settings, constants, batch, deterministic=False)

    return module.apply({"params": params}, rngs={"dropout": key}, method=terms)


def tune_terms(
    module: GenSR,
    settings: LossSettings,
    constants: Arrays,
    batch: Arrays,
    deterministic: bool,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss and its parts; `module` is bound to parameters.

    `task_rec` and `task_search` are the task loss over the lists of one task (0 where a batch has
    none), `rms_*` the size of each soft token before matching, relative to the word embeddings.
    """
    candidates = candidate_items(batch)
    real = (batch["valid"] != 0)[:, None] & (candidates != 0)
    histories = module.encode_histories(batch, constants, deterministic)
    soft = module.make_tokens(histories, candidates, constants)
    logits = module.answer(batch, soft.tokens, constants, deterministic)
    losses = list_losses(module, settings, logits, real)
    valid = batch["valid"] != 0
    task = masked_average(losses, valid)
    metrics = {"task": task}
    for number, name in enumerate(("rec", "search")):
        metrics[f"task_{name}"] = masked_average(losses, valid & (batch["task"] == number))
    total = task
    if settings.contrastive_weight and len(soft.weights) == 2:
        contrast = _contrast(module, settings, soft, candidates, real, batch)
        total = total + settings.contrastive_weight * contrast
        metrics["contrastive"] = contrast
        if module.settings.contrastive == "normalised":
            metrics["temperature"] = module.temperature()
    square = jnp.square(soft.raw.astype(jnp.float32)).mean(axis=-1)
    for slot, name in enumerate(SLOT_NAMES):
        size = jnp.sqrt(masked_average(square[..., slot], real))
        metrics[f"rms_{name}"] = size / constants["word_rms"]
    for name, weights in soft.weights.items():
        entropy = -(weights * jnp.log(jnp.maximum(weights, 1e-20))).sum(axis=-1)
        metrics[f"filter_entropy_{name}"] = masked_average(entropy, real)
    return total, metrics


def list_losses(
    module: GenSR, settings: LossSettings, logits: jax.Array, real: jax.Array
) -> jax.Array:
    """The task loss of each list, float32 [B].

    logits: of the answers [B, C, 2], or of the vocabulary [B, C, V]; real: bool [B, C]
    "bce_z": binary cross-entropy of the difference Yes - No, mean over candidates; a constant
    answer is worth the entropy of the shares (0.5004 nats at 1 : 4).
    "group": a softmax over the list plus `group_bce_weight` times "bce_z".
    "vocab_ce": cross-entropy of the answer's token over the whole vocabulary, as released.
    """
    count = jnp.maximum(real.sum(axis=1), 1)
    if settings.task == "vocab_ce":
        answer = jnp.full(logits.shape[:2], module.settings.no).at[:, 0].set(module.settings.yes)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, answer)
        return (losses * real).sum(axis=1) / count
    difference = answer_difference(module, logits)
    labels = jnp.zeros_like(difference).at[:, 0].set(1.0)
    binary = (optax.sigmoid_binary_cross_entropy(difference, labels) * real).sum(axis=1) / count
    if settings.task == "bce_z":
        return binary
    grouped = -jax.nn.log_softmax(jnp.where(real, difference, -1e9))[:, 0]
    return grouped + settings.group_bce_weight * binary


def answer_difference(module: GenSR, logits: jax.Array) -> jax.Array:
    """z = l_Yes - l_No, float32 [B, C]."""
    if module.settings.head != "full":
        return logits[..., 0] - logits[..., 1]
    return logits[..., module.settings.yes] - logits[..., module.settings.no]


def _contrast(
    module: GenSR,
    settings: LossSettings,
    soft: SoftTokens,
    candidates: jax.Array,
    real: jax.Array,
    batch: Arrays,
) -> jax.Array:
    columns = slice(None) if settings.contrastive_rows == "all" else slice(0, 1)
    raw, items, valid = soft.raw[:, columns], candidates[:, columns], real[:, columns]
    user = jnp.broadcast_to(batch["user"][:, None], items.shape)
    width = raw.shape[-1]
    if module.settings.contrastive == "published":
        ours, theirs = module.normed_views(normalise(raw))
        return published_contrast(
            ours.reshape(-1, width),
            theirs.reshape(-1, width),
            module.settings.temperature,
            valid.reshape(-1),
        )
    ours, theirs = module.normed_views(raw)
    return contrast_views(
        ours.reshape(-1, width),
        theirs.reshape(-1, width),
        module.temperature(),
        user.reshape(-1),
        items.reshape(-1),
        valid.reshape(-1),
    )
