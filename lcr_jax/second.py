"""The second training stage of LCR, as a `Stage`: reinforcement or one of its controls.

Shapes: [B] batch  [C] candidates  [D] width
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax

from common.nn.losses import masked_average
from common.training.task import Stage
from lcr_jax.controls import likelihood, noise, ranking
from lcr_jax.model import LCR, Encoded
from lcr_jax.policy import draw_noise
from lcr_jax.reinforce import reinforce
from lcr_jax.rewards import draw_candidates
from lcr_jax.settings import ROLLING, LossSettings, Second
from lcr_jax.shared import Arrays, Figures, Shared
from lcr_jax.supervised import Pass

Term = Callable[[Shared], tuple[jax.Array | float, Figures]]
TERMS: dict[str, Term] = {
    "reinforce": reinforce,
    "more": lambda shared: (0.0, {}),
    "likelihood": likelihood,
    "ranking": ranking,
    "noise": noise,
}
RATES = {"reasoner": 1e-4, "all": 3e-5}  # a learning rate of 0 means these


def make_second(model: LCR, loss: LossSettings, second: Second, first: Stage) -> Stage:
    """The stage after `first`, or in its place where a finished run is the start.

    All kinds have the same batches, negatives, updates and learning rate.
    """
    count = max(second.negatives, second.anchor_negatives)
    return Stage(
        name=second.kind,
        loss=partial(second_loss, model, loss, second),
        view=replace(first.view, negatives=count),
        batch_size=first.batch_size,
        epochs=second.epochs,
        optimizer=replace(
            first.optimizer,
            learning_rate=second.learning_rate or RATES[second.train],
            schedule="constant",
            warmup_steps=0,
            clip_norm=second.clip_norm,
        ),
        stopping=replace(first.stopping, plateau_patience=0),
        trainable=is_reasoner if second.train == "reasoner" else None,
        keeps_start=second.kind in ("reinforce", "likelihood"),
        eval_every_epochs=second.eval_every_epochs,
    )


def is_reasoner(path: str) -> bool:
    """Whether a parameter belongs to the reasoning steps; the rest is frozen then."""
    return path.startswith("reasoner/")


def second_loss(
    model: LCR,
    loss: LossSettings,
    second: Second,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> tuple[jax.Array, Figures]:
    """The term of a kind plus the anchor eta * L_1, and the figures of both, unweighted.

    The anchor is stage 1's loss with as many negatives as there; its forward pass is that of
    inference (no noise, and no dropout unless `second.dropout`). `supervised` is L_1, `candidates`
    how many a user has, with the positive.
    Deterministic in (params, constants, batch, key).
    """
    draws = None
    if second.kind in ROLLING:
        key, noise_key = jax.random.split(key)
        s, rows = model.settings, batch["valid"].shape[0]
        draws = draw_noise(noise_key, second.rollouts, s.steps, rows, s.width)
    drawn, aligned, dropout = jax.random.split(key, 3)
    candidates = draw_candidates(batch, second.negatives, second.in_batch, drawn)
    few = {**batch, "negatives": batch["negatives"][:, : second.anchor_negatives]}

    def run(module: LCR) -> tuple[Encoded, jax.Array, jax.Array, Figures]:
        lookup = module.lookup(batch, constants)
        encoded = module.encode(batch, lookup, deterministic=True)
        read = module.encode(batch, lookup, deterministic=False) if second.dropout else encoded
        total, parts = Pass(module, loss, read, lookup, few, constants).loss(aligned)
        return encoded, lookup.items(candidates.items), total, parts

    encoded, vectors, total, parts = model.apply(
        {"params": params}, rngs={"dropout": dropout}, method=run
    )
    shared = Shared(model, second, params, constants, batch, encoded, candidates, vectors, draws)
    term, figures = TERMS[second.kind](shared)
    count = masked_average(candidates.allowed.sum(axis=1), batch["valid"])
    figures = {**parts, "supervised": total, "candidates": count, **figures}
    return term + second.anchor_weight * total, figures
