"""What the methods' configurations have in common: allowed values, optimiser, stopping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.errors import InputError
from common.training.task import Optimizer, Stopping


def check_values(
    config: Any, choices: Mapping[str, Sequence[str]], least: Mapping[str, float]
) -> None:
    """Raises InputError for a key "group.name" that is none of its choices, or below its least."""
    for key, allowed in choices.items():
        group, name = key.split(".")
        value = config[group][name]
        if value not in allowed:
            raise InputError(f"config.{key}: {value!r} is unknown; use {' or '.join(allowed)}")
    for key, bound in least.items():
        group, name = key.split(".")
        if config[group][name] < bound:
            raise InputError(f"config.{key} = {config[group][name]}: must be at least {bound}")


def read_optimizer(train: Any) -> Optimizer:
    """The optimiser of the keys of `config.train`."""
    return Optimizer(
        learning_rate=train.learning_rate,
        schedule=train.schedule,
        warmup_steps=train.warmup_steps,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
    )


def read_stopping(train: Any) -> Stopping:
    """The stopping rule of the keys of `config.train`, with the plateau's where they are there."""
    plateau = {key: train[key] for key in train if key.startswith("plateau_")}
    return Stopping(metric=train.metric, patience=train.patience, **plateau)
