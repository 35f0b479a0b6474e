"""SASRec as a `Task`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from baselines_jax.sasrec_model import (
    SASRec,
    Sizes,
    packed_loss,
    score_candidates,
    score_catalogue,
)
from baselines_jax.settings import Sasrec
from common.data.dataset import Dataset
from common.data.negatives import log_draw_shares
from common.data.view import View
from common.errors import InputError
from common.settings.reading import take_fields
from common.training.task import Optimizer, Stage, Stopping, Task


def build(settings: Sasrec, dataset: Dataset) -> Task:
    """The task of SASRec settings. Raises InputError for values that do not go together."""
    _check(settings)
    data, train = settings.data, settings.train
    exact = settings.loss.recommendation == "softmax"
    view = take_fields(
        View,
        data,
        train,
        task="rec",
        search_length=0,
        clicks=1,
        negatives=0 if exact else train.negatives,
    )
    module = SASRec(
        take_fields(Sizes, settings.model, n_items=dataset.n_items, length=data.rec_length)
    )
    stage = Stage(
        name="supervised",
        loss=partial(packed_loss, module, settings.loss.recommendation),
        view=replace(view, packed=True),
        batch_size=train.batch_size,
        epochs=train.epochs,
        optimizer=take_fields(Optimizer, train),
        stopping=take_fields(Stopping, train),
    )
    return Task(
        name="sasrec",
        tasks=("rec",),
        view=view,
        init=partial(_init, module, dataset, view),
        stages=(stage,),
        score=partial(score_candidates, module),
        score_catalogue=partial(score_catalogue, module),
        split_tables=("item/embedding",),
    )


def _init(
    module: SASRec, dataset: Dataset, view: View, key: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[Any, dict[str, jax.Array]]:
    del batch  # the parameters depend on the settings alone
    slots = jnp.ones((1, view.rec_length), jnp.int32)
    params = module.init(key, slots, slots, True, method=SASRec.states)["params"]
    share = log_draw_shares(dataset, view.task, view.negative_sampling)
    return params, {"log_share": jnp.asarray(share)}


def _check(settings: Sasrec) -> None:
    model, loss = settings.model, settings.loss
    if model.width % model.heads:
        raise InputError(
            f"config.model.width = {model.width} does not divide by config.model.heads = "
            f"{model.heads}; change one of them"
        )
    if loss.recommendation != "softmax" and settings.train.negatives < 1:
        raise InputError(
            f"config.train.negatives: {loss.recommendation} needs at least 1; set it to 4"
        )
