"""What every kind of second stage shares: one encoding per user, the anchor, the candidates.

Shapes: [B] batch  [C] candidates  [G] rollouts  [K] reasoning steps  [D] width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from lcr_jax.losses import masked_average
from lcr_jax.model import LCR, Encoded
from lcr_jax.reasoner import Reasoning
from lcr_jax.rewards import Candidates, draw_candidates
from lcr_jax.settings import LossSettings, Second
from lcr_jax.supervised import supervised_terms

Arrays = Mapping[str, jax.Array]


class Shared(NamedTuple):
    """What the terms of a second stage are computed from."""

    encoded: Encoded  # without noise and without dropout: plain inference
    candidates: Candidates
    vectors: jax.Array  # [B, C, D] of the candidates
    anchor: jax.Array  # eta * L_1, float32 []
    metrics: dict[str, jax.Array]  # L_1 and its parts, candidates per row


def prepare(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> Shared:
    """Encodes once, draws the candidates and computes the anchor eta * L_1.

    The anchor is stage 1's loss with as many negatives as there; its forward pass is that of
    inference (no noise, and no dropout unless `second.dropout`).
    """
    drawn, aligned, dropout = jax.random.split(key, 3)
    candidates = draw_candidates(batch, second.negatives, second.in_batch, drawn)
    few = {**batch, "negatives": batch["negatives"][:, : second.anchor_negatives]}

    def run(module: LCR) -> tuple[Any, ...]:
        lookup = module.lookup(batch, constants)
        encoded = module.encode(batch, lookup, deterministic=True)
        read = module.encode(batch, lookup, deterministic=False) if second.dropout else encoded
        total, parts = supervised_terms(module, loss, read, lookup, few, constants, aligned)
        return encoded, lookup.items(candidates.items), total, parts

    encoded, vectors, total, parts = model.apply(
        {"params": params}, rngs={"dropout": dropout}, method=run
    )
    count = masked_average(candidates.allowed.sum(axis=1), batch["valid"])
    metrics = {**parts, "supervised": total, "candidates": count}
    return Shared(encoded, candidates, vectors, second.anchor_weight * total, metrics)


def share_reference(
    model: LCR, second: Second, shared: Shared, constants: Arrays, batch: Arrays
) -> Shared:
    """`shared` as constants["start"], the frozen copy of the stage's first parameters, encodes it.

    Where only the reasoner is trained, encoder and embeddings still are those of the copy, and so
    is what they gave: nothing is encoded again.
    """
    if second.train == "reasoner":
        return shared

    def run(module: LCR) -> tuple[Encoded, jax.Array]:
        lookup = module.lookup(batch, constants)
        encoded = module.encode(batch, lookup, deterministic=True)
        return encoded, lookup.items(shared.candidates.items)

    encoded, vectors = model.apply({"params": constants["start"]}, method=run)
    return shared._replace(encoded=encoded, vectors=vectors)


def score_rollouts(model: LCR, params: Any, shared: Shared, reasoning: Reasoning) -> jax.Array:
    """Scores float32 [G, B, C] of the candidates by the last states and evidence of G rollouts.

    reasoning: with the axis [G] in front
    """

    def score(own: Reasoning) -> jax.Array:
        encoded = shared.encoded._replace(reasoning=own)
        return model.apply({"params": params}, encoded, shared.vectors, method=LCR.score)

    return jax.vmap(score)(reasoning)
