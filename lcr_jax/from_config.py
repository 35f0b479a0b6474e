"""From a configuration to the frozen values that the method is made of."""

from __future__ import annotations

from typing import Any

from common.data.dataset import Dataset
from common.data.view import View
from common.errors import InputError
from common.training.task import Optimizer, Stopping, Task
from lcr_jax.settings import LossSettings, ModelSettings
from lcr_jax.task import join_levels, make_task

CHOICES = {
    "model.encoder": ("merged", "grounded", "dual"),
    "model.scorer": ("dot_mlp", "dot"),
    "model.evidence_mode": ("log", "off"),
    "loss.recommendation": ("bce", "sampled_softmax", "softmax"),
    "train.negative_sampling": ("popularity", "uniform"),
    "train.schedule": ("constant", "cosine"),
}


def build_task(config: Any, dataset: Dataset) -> Task:
    """See `lcr_jax.build`."""
    _check(config)
    data, model, train = config.data, config.model, config.train
    view = View(
        task="rec",
        rec_length=data.rec_length,
        search_length=data.search_length,
        clicks=data.clicks,
        min_history=data.min_history,
        negatives=train.negatives,
        negative_sampling=train.negative_sampling,
    )
    categories = join_levels(dataset.item_categories) if model.categories else None
    settings = ModelSettings(
        n_items=dataset.n_items,
        n_tokens=dataset.n_tokens,
        n_categories=0 if categories is None else int(categories.max(initial=0)),
        n_users=dataset.n_users,
        rec_length=data.rec_length,
        search_length=data.search_length,
        places=model.places,
        width=model.width,
        heads=model.heads,
        layers=model.layers,
        dropout=model.dropout,
        encoder=model.encoder,
        user=model.user,
        scorer=model.scorer,
        evidence_mode=model.evidence_mode,
        steps=config.reasoner.steps,
        gate=config.reasoner.gate,
        null_event=config.reasoner.null_event,
        reground=config.reasoner.reground,
    )
    optimizer = Optimizer(
        learning_rate=train.learning_rate,
        schedule=train.schedule,
        warmup_steps=train.warmup_steps,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
    )
    stopping = Stopping(
        metric=train.metric,
        patience=train.patience,
        plateau_patience=train.plateau_patience,
        plateau_factor=train.plateau_factor,
        plateau_floor=train.plateau_floor,
    )
    loss = LossSettings(**config.loss.to_dict())
    return make_task(
        settings, loss, view, train.batch_size, train.epochs, optimizer, stopping, dataset
    )


def _check(config: Any) -> None:
    for key, allowed in CHOICES.items():
        group, name = key.split(".")
        value = config[group][name]
        if value not in allowed:
            raise InputError(f"config.{key}: {value!r} is unknown; use {' or '.join(allowed)}")
    for key, least in {
        "data.rec_length": 1,
        "data.search_length": 1,
        "data.clicks": 1,
        "model.width": 1,
        "model.layers": 1,
        "reasoner.steps": 0,
        "train.batch_size": 1,
        "train.epochs": 1,
    }.items():
        group, name = key.split(".")
        if config[group][name] < least:
            raise InputError(f"config.{key} = {config[group][name]}: must be at least {least}")
    if config.model.width % config.model.heads:
        raise InputError(
            f"config.model.width = {config.model.width} does not divide by config.model.heads = "
            f"{config.model.heads}; change one of them"
        )
    if config.loss.recommendation == "softmax" and config.model.scorer != "dot":
        raise InputError(
            "config.loss.recommendation: softmax needs an inner product for every item; "
            "set config.model.scorer=dot or use sampled_softmax"
        )
    if config.loss.recommendation != "softmax" and config.train.negatives < 1:
        raise InputError(
            f"config.train.negatives: {config.loss.recommendation} needs at least 1; set it to 4"
        )
