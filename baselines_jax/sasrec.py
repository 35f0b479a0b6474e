"""SASRec as a `Task`, from a configuration (the keys of `baselines_jax/configs/base_sasrec.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from baselines_jax.sasrec_model import (
    LOSSES,
    SASRec,
    Settings,
    packed_loss,
    score_candidates,
    score_catalogue,
)
from common.configs.reading import check_values, read_optimizer, read_stopping
from common.data.dataset import Dataset
from common.data.negatives import log_draw_shares
from common.data.view import View
from common.errors import InputError
from common.training.optimizers import SCHEDULES
from common.training.task import Stage, Task

CHOICES = {
    "loss.recommendation": LOSSES,
    "train.negative_sampling": ("popularity", "uniform"),
    "train.schedule": SCHEDULES,
}
LEAST = {
    "data.rec_length": 1,
    "model.width": 1,
    "model.heads": 1,
    "model.layers": 1,
    "train.batch_size": 1,
    "train.epochs": 1,
}


def build(config: Any, dataset: Dataset) -> Task:
    """The SASRec task of a configuration on a dataset.

    Raises InputError naming the config key that cannot be.
    """
    _check(config)
    data, model, train = config.data, config.model, config.train
    exact = config.loss.recommendation == "softmax"
    view = View(
        task="rec",
        rec_length=data.rec_length,
        search_length=0,
        clicks=1,
        min_history=data.min_history,
        negatives=0 if exact else train.negatives,
        negative_sampling=train.negative_sampling,
    )
    module = SASRec(
        Settings(
            n_items=dataset.n_items,
            length=data.rec_length,
            width=model.width,
            heads=model.heads,
            layers=model.layers,
            dropout=model.dropout,
        )
    )
    stage = Stage(
        name="supervised",
        loss=partial(packed_loss, module, config.loss.recommendation),
        view=replace(view, packed=True),
        batch_size=train.batch_size,
        epochs=train.epochs,
        optimizer=read_optimizer(train),
        stopping=read_stopping(train),
    )
    return Task(
        name="sasrec",
        tasks=("rec",),
        view=view,
        init=partial(_init, module, dataset, view),
        stages=(stage,),
        score=partial(score_candidates, module),
        score_catalogue=partial(score_catalogue, module),
    )


def _init(
    module: SASRec, dataset: Dataset, view: View, key: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[Any, dict[str, jax.Array]]:
    del batch  # the parameters depend on the settings alone
    slots = jnp.ones((1, view.rec_length), jnp.int32)
    params = module.init(key, slots, slots, True, method=SASRec.states)["params"]
    share = log_draw_shares(dataset, view.task, view.negative_sampling)
    return params, {"log_share": jnp.asarray(share)}


def _check(config: Any) -> None:
    check_values(config, CHOICES, LEAST)
    if config.model.width % config.model.heads:
        raise InputError(
            f"config.model.width = {config.model.width} does not divide by config.model.heads = "
            f"{config.model.heads}; change one of them"
        )
    if config.loss.recommendation != "softmax" and config.train.negatives < 1:
        raise InputError(
            f"config.train.negatives: {config.loss.recommendation} needs at least 1; set it to 4"
        )
