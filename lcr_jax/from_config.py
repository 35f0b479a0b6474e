"""From a configuration to the frozen values that the method is made of."""

from __future__ import annotations

from typing import Any

from common.configs.reading import check_values, read_optimizer, read_stopping
from common.data.dataset import Dataset
from common.data.view import View
from common.errors import InputError
from common.training.task import Task
from lcr_jax.rewards import REWARDS
from lcr_jax.second import LOSSES, RATES
from lcr_jax.settings import LossSettings, ModelSettings, SecondSettings
from lcr_jax.task import join_levels, make_task

CHOICES = {
    "model.encoder": ("merged", "grounded", "dual"),
    "model.scorer": ("dot_mlp", "dot"),
    "model.evidence_mode": ("log", "off"),
    "loss.recommendation": ("bce", "sampled_softmax", "softmax"),
    "train.negative_sampling": ("popularity", "uniform"),
    "train.schedule": ("constant", "cosine"),
    "second.kind": ("none", *LOSSES),
    "second.train": tuple(RATES),
    "second.reward": tuple(REWARDS),
    "second.ranking_loss": ("approx_ndcg", "softmax"),
}
LEAST = {
    "data.rec_length": 1,
    "data.search_length": 1,
    "data.clicks": 1,
    "model.width": 1,
    "model.layers": 1,
    "reasoner.steps": 0,
    "train.batch_size": 1,
    "train.epochs": 1,
    "second.epochs": 1,
    "second.rollouts": 2,
    "second.negatives": 1,
    "second.in_batch": 0,
    "second.learning_rate": 0.0,
    "second.kl_weight": 0.0,
    "second.anchor_weight": 0.0,
}


def build_task(config: Any, dataset: Dataset, read_step: int = -1) -> Task:
    """See `lcr_jax.build`."""
    _check(config)
    data, model, train = config.data, config.model, config.train
    view = View(
        task="rec",
        rec_length=data.rec_length,
        search_length=data.search_length,
        clicks=data.clicks,
        searches=data.searches,
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
        read_step=read_step,
        gate=config.reasoner.gate,
        null_event=config.reasoner.null_event,
        support=config.reasoner.support,
        reground=config.reasoner.reground,
    )
    optimizer = read_optimizer(train)
    stopping = read_stopping(train)
    loss = LossSettings(**config.loss.to_dict())
    second = None
    if config.second.kind != "none":
        keys = {key: value for key, value in config.second.to_dict().items() if key != "start"}
        second = SecondSettings(**keys, anchor_negatives=train.negatives)
    return make_task(
        settings,
        loss,
        view,
        train.batch_size,
        train.epochs,
        optimizer,
        stopping,
        dataset,
        second,
        config.second.start,
    )


def _check(config: Any) -> None:
    check_values(config, CHOICES, LEAST)
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
    _check_second(config.second, config.reasoner.steps)


def _check_second(second: Any, steps: int) -> None:
    if second.kind == "none":
        if second.start:
            raise InputError(
                f"config.second.start = {second.start}: there is no second stage; set "
                f"config.second.kind to {' or '.join(LOSSES)}"
            )
        return
    if steps == 0 and second.kind in ("reinforce", "likelihood", "noise"):
        raise InputError(
            f"config.second.kind: {second.kind} needs reasoning steps, and config.reasoner.steps "
            "is 0; set it to 1 or more, or use more or ranking"
        )
    if steps == 0 and second.train == "reasoner":
        raise InputError(
            "config.second.train: there is no reasoner to train, config.reasoner.steps is 0; "
            "set config.second.train=all"
        )
    for key in ("noise", "temperature", "eval_every_epochs"):
        if second[key] <= 0:
            raise InputError(f"config.second.{key} = {second[key]}: must be above 0")
    if not 0 < second.clip_low <= 1 <= second.clip_high:
        raise InputError(
            f"config.second.clip_low = {second.clip_low}, clip_high = {second.clip_high}: "
            "the ratio 1 must lie between them; use 0.8 and 1.28"
        )
