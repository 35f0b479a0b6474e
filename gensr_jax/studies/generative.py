"""Trained GenSR models as studies look into them: module, loss, parameters, and held-out lists.

Shapes: [n] lists  [C] candidates, the positive in column 0  [D] T5 width
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np

import gensr_jax
from common.data.batches import evaluation_source
from common.data.hashing import SUBSET, draw_uniform
from common.data.negatives import TrainingNegatives
from common.data.view import View
from common.errors import InputError
from common.precision import exact_products
from common.ranking.rows import choose_rows
from common.runs.folder import RunFolder
from common.runs.measures import Request
from common.runs.trained import load_model
from common.training.mesh import put_batch
from gensr_jax.states import States, read_states

_read = jax.jit(exact_products()(read_states), static_argnums=0)


class Generative(NamedTuple):
    """A trained GenSR, or its discriminative twin."""

    module: Any
    loss: Any  # its settings
    params: Any  # of the module
    constants: Any
    view: View  # of one task; negatives as in the training of the study's first run


class Lists(NamedTuple):
    """Lists of one task and part: the same for every run of a study."""

    task: str
    rows: np.ndarray  # int64 [n]
    users: np.ndarray  # int32 [n]
    negatives: np.ndarray  # int32 [n, C - 1]


def check_generative(request: Request) -> None:
    """Raises InputError for a run of another method, or one that asks for other histories."""
    for run in request.runs:
        if run.config.method != "gensr":
            raise InputError(
                f"--runs: {run.name} is a run of {run.config.method}, and only GenSR has soft "
                "tokens and a T5 to look into; leave it out"
            )
        ours, theirs = (r.config.data.min_history for r in (request.runs[0], run))
        if ours != theirs:
            raise InputError(
                f"--runs: config.data.min_history is {ours} in {request.runs[0].name} and "
                f"{theirs} in {run.name}; compare runs on the same rows"
            )


def open_generative(request: Request, run: RunFolder) -> Generative:
    """A run's module and its best parameters. Raises InputError where there are none."""
    opened = gensr_jax.open_model(run.config, request.dataset)
    trained = load_model(opened.task, run.workdir, run.config.seed, request.dataset, request.mesh)
    first = request.runs[0].config.train
    view = replace(
        opened.task.view, negatives=first.negatives, negative_sampling=first.negative_sampling,
        fresh_negatives=True,
    )  # fmt: skip
    return Generative(opened.module, opened.loss, trained.params["model"], trained.constants, view)


def draw_lists(request: Request, task: str, part: str, most: int) -> Lists:
    """Lists of a held-out part, with negatives drawn as in training; fixed by `request.seed`.

    most: of these many lists, chosen at random where there are more
    Raises InputError when the part has no row with enough history.
    """
    config = request.runs[0].config
    chosen = choose_rows(request.dataset, task, part, config.data.min_history, protocols=())
    order = np.argsort(draw_uniform(request.seed, SUBSET, chosen.rows, 0), kind="stable")
    keep = np.sort(order[:most])
    rows, users, targets = chosen.rows[keep], chosen.users[keep], chosen.targets[keep]
    sampler = TrainingNegatives(request.dataset, task, config.train.negative_sampling, request.seed)
    negatives = sampler.draw(rows, users, targets, 0, config.train.negatives)
    return Lists(task, rows, users, negatives)


def read_lists(
    request: Request, model: Generative, lists: Lists, as_recommendation: bool = False
) -> States:
    """What the model makes of the lists, on the host: soft tokens [n, C, 4, D], states, answers.

    as_recommendation: the same users, items and histories of search are asked for without the
        query, as a recommendation
    """
    source = evaluation_source(
        request.dataset, replace(model.view, task=lists.task), lists.rows,
        min(request.batch_size, len(lists.rows)), lists.negatives,
    )  # fmt: skip
    parts = []
    for step in range(len(source)):
        batch = source[step]
        if as_recommendation:
            batch = batch | {name: np.zeros_like(batch[name]) for name in ("task", "query")}
        found = _read(model.module, model.params, model.constants, put_batch(request.mesh, batch))
        real = batch["valid"] != 0
        parts.append(jax.tree.map(lambda array, real=real: np.asarray(array)[real], found))
    joined: States = jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
    return joined
