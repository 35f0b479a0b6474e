"""Stage `pretrain_cf`: LightGCN on the training graph, before the language model is tuned."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import jax

from common.data.view import View
from common.settings.reading import take_fields
from common.training.task import Batch, Constants, Metrics, Optimizer, Params, Stage, Stopping
from gensr_jax.lightgcn import bpr_loss, score, score_catalogue
from gensr_jax.settings import PretrainSettings

NEGATIVES = 1  # uniform, not among the user's train items; as LightGCN


def make_pretrain_stage(settings: PretrainSettings, view: View, rows: str = "both") -> Stage:
    """The stage: BPR over the train rows of both tasks, judged by its own full ranking.

    view: of the run; the stage reads no histories, and takes every train row
    rows: "both", or "rec" where there are no searches
    """
    own = dataclasses.replace(
        view,
        task=rows,
        rec_length=0,
        search_length=0,
        clicks=0,
        min_history=0,
        negatives=NEGATIVES,
        negative_sampling="uniform",
        fresh_negatives=True,
    )
    return Stage(
        name="pretrain_cf",
        loss=partial(_loss, settings.l2),
        view=own,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        optimizer=take_fields(Optimizer, settings),
        stopping=take_fields(Stopping, settings),
        trainable=is_collaborative,
        eval_every_epochs=settings.eval_every_epochs,
        score=score,
        score_catalogue=score_catalogue,
    )


def is_collaborative(path: str) -> bool:
    """Whether a parameter, named as "cf/item", is of LightGCN."""
    return path.startswith("cf/")


def _loss(
    l2: float, params: Params, constants: Constants, batch: Batch, key: jax.Array
) -> tuple[jax.Array, Metrics]:
    del key  # nothing is drawn on the device
    loss: tuple[jax.Array, dict[str, Any]] = bpr_loss(params, constants, batch, l2)
    return loss
