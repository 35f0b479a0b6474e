"""Stage 1 of LCR: recommendation loss, contrastive alignment and query-item alignment.

Shapes: [B] batch  [N] searches  [P] clicks per search  [D] width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.data.view import candidate_items
from lcr_jax import losses
from lcr_jax.embedding import Lookup
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
    """L_1 = L_rec + lambda_cl L_cl + lambda_qi L_qi, with its three parts beside it.

    Deterministic in (params, batch, key); `key` drives dropout and the random negatives of the
    alignment.
    """
    dropout, sampled = jax.random.split(key)

    def terms(module: LCR) -> tuple[jax.Array, dict[str, jax.Array]]:
        lookup = module.lookup(batch, constants)
        encoded = module.encode(batch, lookup, deterministic=False)
        recommendation = _recommendation(module, settings, encoded, lookup, batch, constants)
        total = recommendation
        metrics = {"recommendation": recommendation}
        if settings.contrastive_weight and module.settings.steps:
            contrastive = _contrastive(module, settings, encoded, lookup, batch, constants)
            total = total + settings.contrastive_weight * contrastive
            metrics["contrastive"] = contrastive
        if settings.alignment_weight:
            alignment = _alignment(module, settings, lookup, batch, constants, sampled)
            total = total + settings.alignment_weight * alignment
            metrics["alignment"] = alignment
        return total, metrics

    return model.apply({"params": params}, rngs={"dropout": dropout}, method=terms)


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
        scores = module.query(encoded) @ lookup.all_items().T
        return losses.catalogue_softmax(scores, batch["target"], valid)
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
    steps, rows = states.shape[:2]
    base = settings.temperature * jnp.exp(module.temperature_scale)
    base = jnp.clip(base, 0.01, 1.0)
    growth = settings.temperature_growth ** jnp.arange(steps - 1, -1, -1, dtype=jnp.float32)
    taken = jnp.concatenate([batch["rec_item"], batch["search_click"].reshape(rows, -1)], axis=1)
    return losses.contrastive_alignment(
        module.state_map(states),
        module.item_map(lookup.items(batch["target"])),
        batch["target"],
        taken,
        constants["log_popularity"][batch["target"]],
        batch["valid"],
        base * growth,
    )


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
