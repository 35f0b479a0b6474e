"""The second training stage of LCR, as a `Stage`: reinforcement or one of its controls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from common.training.task import Stage
from lcr_jax.controls import likelihood_loss, more_loss, noise_loss, ranking_loss
from lcr_jax.model import LCR
from lcr_jax.reinforce import reinforce_loss
from lcr_jax.settings import LossSettings, Second

LOSSES: dict[str, Callable[..., Any]] = {
    "reinforce": reinforce_loss,
    "more": more_loss,
    "likelihood": likelihood_loss,
    "ranking": ranking_loss,
    "noise": noise_loss,
}
RATES = {"reasoner": 1e-4, "all": 3e-5}  # a learning rate of 0 means these


def make_second(model: LCR, loss: LossSettings, second: Second, first: Stage) -> Stage:
    """The stage after `first`, or in its place where a finished run is the start.

    All kinds have the same batches, negatives, updates and learning rate.
    """
    count = max(second.negatives, second.anchor_negatives)
    return Stage(
        name=second.kind,
        loss=partial(LOSSES[second.kind], model, loss, second),
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
