"""Stage 1 of LCR: losses of recommendation, contrast, evidence and query-item alignment.

Shapes: [B] batch  [N] searches  [P] clicks per search  [D] width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.data.view import candidate_items
from common.nn.embedding import Lookup
from lcr_jax import losses
from lcr_jax.distractors import add_distractors
from lcr_jax.model import LCR, Encoded
from lcr_jax.settings import LossSettings

Arrays = Mapping[str, jax.Array]


def supervised_loss(
    model: LCR,
    settings: LossSettings,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """L_1 = L_rec + lambda_cl L_cl + lambda_ev L_ev + lambda_qi L_qi, with its parts beside it.

    Deterministic in (params, batch, key); `key` drives dropout and the random negatives of the
    alignment.
    """
    dropout, sampled = jax.random.split(key)
    if settings.distractors:
        batch = add_distractors(batch, settings.distractors, jax.random.fold_in(key, 1))

    def terms(module: LCR) -> tuple[jax.Array, dict[str, jax.Array]]:
        lookup = module.lookup(batch, constants)
        encoded = module.encode(batch, lookup, deterministic=False)
        return supervised_terms(module, settings, encoded, lookup, batch, constants, sampled)

    return model.apply({"params": params}, rngs={"dropout": dropout}, method=terms)


def supervised_terms(
    module: LCR,
    settings: LossSettings,
    encoded: Encoded,
    lookup: Lookup,
    batch: Arrays,
    constants: Arrays,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """L_1 and its parts for a batch that is encoded already; `module` is bound to parameters.

    key: of the random negatives of the alignment
    """
    recommendation = _recommendation(module, settings, encoded, lookup, batch, constants)
    total = recommendation
    metrics = {"recommendation": recommendation}
    if settings.contrastive_weight and module.settings.steps:
        contrastive = _contrastive(module, settings, encoded, lookup, batch, constants)
        total = total + settings.contrastive_weight * contrastive
        metrics["contrastive"] = contrastive
    if settings.evidence_weight and module.settings.steps:
        evidence = _evidence(module, settings, encoded, lookup, batch, constants)
        total = total + settings.evidence_weight * evidence
        metrics["evidence"] = evidence
    if settings.alignment_weight:
        alignment = _alignment(module, settings, lookup, batch, constants, key)
        total = total + settings.alignment_weight * alignment
        metrics["alignment"] = alignment
    return total, metrics


def _recommendation(
    module: LCR,
    settings: LossSettings,
    encoded: Encoded,
    lookup: Lookup,
    batch: Arrays,
    constants: Arrays,
) -> jax.Array:
    valid = batch["valid"]
    if settings.recommendation == "softmax":
        states, table = module.query(encoded), lookup.all_items()
        return losses.fused_softmax(states, table, batch["target"], valid)
    candidates = candidate_items(batch)
    scores = module.score(encoded, lookup.items(candidates))
    if settings.recommendation == "bce":
        return losses.binary_cross_entropy(scores, valid)
    return losses.sampled_softmax(scores, constants["log_popularity"][candidates], valid)


def _contrastive(
    module: LCR,
    settings: LossSettings,
    encoded: Encoded,
    lookup: Lookup,
    batch: Arrays,
    constants: Arrays,
) -> jax.Array:
    states = encoded.reasoning.states[:, 1:].swapaxes(0, 1)
    steps = states.shape[0]
    growth = settings.temperature_growth ** jnp.arange(steps - 1, -1, -1, dtype=jnp.float32)
    return losses.contrastive_alignment(
        module.state_map(states),
        module.item_map(lookup.items(batch["target"])),
        batch["target"],
        _taken(batch),
        constants["log_popularity"][batch["target"]],
        batch["valid"],
        _temperature(module, settings) * growth,
    )


def _evidence(
    module: LCR,
    settings: LossSettings,
    encoded: Encoded,
    lookup: Lookup,
    batch: Arrays,
    constants: Arrays,
) -> jax.Array:
    return losses.evidence_likelihood(
        encoded.reasoning.evidence,
        module.item_map(encoded.memory.event),  # searches and items are events of one space
        module.item_map(lookup.items(batch["target"])),
        batch["target"],
        _taken(batch),
        constants["log_popularity"][batch["target"]],
        batch["valid"],
        _temperature(module, settings),
        settings.evidence_negatives,
    )


def _taken(batch: Arrays) -> jax.Array:
    """Items int32 [B, L] of the histories, 0 pads."""
    clicks = batch["search_click"]
    return jnp.concatenate([batch["rec_item"], clicks.reshape(len(clicks), -1)], axis=1)


def _temperature(module: LCR, settings: LossSettings) -> jax.Array:
    """The learned temperature of the losses that compare with targets, in [0.01, 1]."""
    return jnp.clip(settings.temperature * jnp.exp(module.temperature_scale), 0.01, 1.0)


def _alignment(
    module: LCR,
    settings: LossSettings,
    lookup: Lookup,
    batch: Arrays,
    constants: Arrays,
    key: jax.Array,
) -> jax.Array:
    clicks = batch["search_click"]
    clicked = (clicks[..., 0] != 0) & (batch["search_mask"] != 0) & (batch["valid"] != 0)[:, None]
    # The most recent clicked searches: pads are at the end, so count from the last real one.
    newness = jnp.where(clicked, jnp.arange(clicked.shape[1]), -1)
    count = min(settings.alignment_pairs, clicked.shape[1])
    newest, where = jax.lax.top_k(newness, count)
    queries = jnp.take_along_axis(batch["search_query"], where, axis=1).reshape(-1)
    items = jnp.take_along_axis(clicks[..., 0], where, axis=1).reshape(-1)
    n_items = constants["item_categories"].shape[0] - 1
    n_queries = constants["query_tokens"].shape[0] - 1
    item_key, query_key = jax.random.split(key)
    shape = (settings.alignment_negatives,)
    other_items = jax.random.randint(item_key, shape, 1, n_items + 1)
    other_queries = jax.random.randint(query_key, shape, 1, n_queries + 1)
    temperature = settings.alignment_temperature * jnp.exp(module.alignment_scale)
    return losses.query_item_alignment(
        lookup.queries(queries),
        lookup.items(items),
        lookup.queries(other_queries),
        lookup.items(other_items),
        newest.reshape(-1) >= 0,
        module.alignment_form,
        jnp.maximum(temperature, 0.01),
    )
