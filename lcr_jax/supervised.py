"""Stage 1 of LCR: losses of recommendation, contrast, evidence and query-item alignment.

Shapes: [B] batch  [L] history items  [N] searches  [P] clicks per search  [D] width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from common.data.view import candidate_items
from common.nn.embedding import Lookup
from common.nn.losses import binary_cross_entropy, fused_softmax, sampled_softmax
from common.nn.shards import hold_whole
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
    """`Pass.loss` of a batch. Deterministic in (params, batch, key); `key` drives dropout,
    distractors and the random negatives of the alignment."""
    dropout, sampled = jax.random.split(key)
    if settings.distractors:
        batch = add_distractors(batch, settings.distractors, jax.random.fold_in(key, 1))

    def run(module: LCR) -> tuple[jax.Array, dict[str, jax.Array]]:
        lookup = module.lookup(batch, constants)
        encoded = module.encode(batch, lookup, deterministic=False)
        return Pass(module, settings, encoded, lookup, batch, constants).loss(sampled)

    return model.apply({"params": params}, rngs={"dropout": dropout}, method=run)


class Pass(NamedTuple):
    """One forward pass as the losses see it."""

    module: LCR  # bound to parameters
    settings: LossSettings
    encoded: Encoded
    lookup: Lookup
    batch: Arrays
    constants: Arrays

    def loss(self, key: jax.Array) -> tuple[jax.Array, dict[str, jax.Array]]:
        """L_1 = L_rec + lambda_cl L_cl + lambda_ev L_ev + lambda_qi L_qi, with its parts beside it.

        key: of the random negatives of the alignment
        """
        s = self.settings
        total = self._recommendation()
        parts = {"recommendation": total}
        if s.contrastive_weight and self.module.settings.steps:
            parts["contrastive"] = self._contrastive()
            total = total + s.contrastive_weight * parts["contrastive"]
        if s.evidence_weight and self.module.settings.steps:
            parts["evidence"] = self._evidence()
            total = total + s.evidence_weight * parts["evidence"]
        if s.alignment_weight:
            parts["alignment"] = self._alignment(key)
            total = total + s.alignment_weight * parts["alignment"]
        return total, parts

    def _recommendation(self) -> jax.Array:
        batch, valid = self.batch, self.batch["valid"]
        if self.settings.recommendation == "softmax":
            states, table = self.module.query(self.encoded), self.lookup.all_items()
            return fused_softmax(states, table, batch["target"], valid)
        candidates = candidate_items(batch)
        scores = self.module.score(self.encoded, self.lookup.items(candidates))
        if self.settings.recommendation == "bce":
            return binary_cross_entropy(scores, valid)
        return sampled_softmax(scores, self.constants["log_popularity"][candidates], valid)

    def _contrastive(self) -> jax.Array:
        states = self.module.state_map(self.encoded.reasoning.states[:, 1:])
        steps = states.shape[1]
        earlier = jnp.arange(steps - 1, -1, -1, dtype=jnp.float32)
        growth = self.settings.temperature_growth**earlier
        temperatures, negatives = self._temperature() * growth, self.settings.contrastive_negatives
        return losses.contrastive_alignment(states, self._targets(), temperatures, negatives)

    def _evidence(self) -> jax.Array:
        return losses.evidence_likelihood(
            self.encoded.reasoning.evidence,
            self.module.item_map(self.encoded.memory.event),  # of one space with the items
            self._targets(),
            self._temperature(),
            self.settings.evidence_negatives,
        )

    def _targets(self) -> losses.Targets:
        batch, clicks = self.batch, self.batch["search_click"]
        target = batch["target"]
        return losses.Targets(
            self.module.item_map(self.lookup.items(target)),
            target,
            jnp.concatenate([batch["rec_item"], clicks.reshape(len(clicks), -1)], axis=1),
            self.constants["log_popularity"][target],
            batch["valid"],
            len(self.constants["log_popularity"]),
        )

    def _temperature(self) -> jax.Array:
        """The learned one of the losses that compare with targets, in [0.01, 1]."""
        scale = jnp.exp(self.module.temperature_scale)
        return jnp.clip(self.settings.temperature * scale, 0.01, 1.0)

    def _alignment(self, key: jax.Array) -> jax.Array:
        s, batch, lookup, clicks = (
            self.settings,
            self.batch,
            self.lookup,
            self.batch["search_click"],
        )
        clicked = (clicks[..., 0] != 0) & (batch["search_mask"] != 0)
        clicked &= (batch["valid"] != 0)[:, None]
        # The p-th newest clicked search has p clicked ones from itself on: pads are at the end. By
        # sums: a `top_k` is many kernels, and devices that share the rows would send them around.
        later = jnp.tri(clicked.shape[1], dtype=bool).T
        count = (clicked[:, None, :] & later).sum(axis=2)
        places = jnp.arange(1, min(s.alignment_pairs, clicked.shape[1]) + 1)
        newest = clicked[:, None, :] & (count[:, None, :] == places[:, None])

        def pick(ids: jax.Array) -> jax.Array:
            return (ids[:, None, :] * newest).sum(axis=2).reshape(-1)

        def draw(key: jax.Array, table: str) -> jax.Array:
            count = self.constants[table].shape[0]
            return hold_whole(jax.random.randint(key, (s.alignment_negatives,), 1, count))

        item_key, query_key = jax.random.split(key)
        other_items = draw(item_key, "item_categories")
        other_queries = draw(query_key, "query_tokens")
        temperature = s.alignment_temperature * jnp.exp(self.module.alignment_scale)
        return losses.query_item_alignment(
            lookup.queries(pick(batch["search_query"])),
            lookup.items(pick(clicks[..., 0])),
            lookup.queries(other_queries, shared=True),
            lookup.items(other_items, shared=True),
            newest.any(axis=2).reshape(-1),
            self.module.alignment_form,
            jnp.maximum(temperature, 0.01),
        )
