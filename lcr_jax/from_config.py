"""From settings to the task of LCR."""

from __future__ import annotations

from common.data.dataset import Dataset
from common.data.view import View
from common.errors import InputError
from common.nn.embedding import join_levels
from common.settings.reading import take_fields
from common.training.task import Task
from lcr_jax.settings import ROLLING, ModelSettings, Second, SecondSettings, Settings
from lcr_jax.task import make_task


def build_task(settings: Settings, dataset: Dataset, read_step: int = -1) -> Task:
    """See `lcr_jax.build`."""
    check_settings(settings)
    data, model, train = settings.data, settings.model, settings.train
    categories = join_levels(dataset.item_categories) if model.categories else None
    net = take_fields(
        ModelSettings,
        data,
        model,
        settings.reasoner,
        dataset,
        n_categories=0 if categories is None else int(categories.max(initial=0)),
        read_step=read_step,
    )
    second = None
    if settings.second.kind != "none":
        second = take_fields(Second, settings.second, anchor_negatives=train.negatives)
    return make_task(
        net, settings.loss, take_fields(View, data, train, task="rec"), train, dataset, second
    )


def check_settings(settings: Settings) -> None:
    """Raises InputError for values that do not go together."""
    model, loss, train = settings.model, settings.loss, settings.train
    if model.width % model.heads:
        raise InputError(
            f"config.model.width = {model.width} does not divide by config.model.heads = "
            f"{model.heads}; change one of them"
        )
    if loss.recommendation == "softmax" and model.scorer != "dot":
        raise InputError(
            "config.loss.recommendation: softmax needs an inner product for every item; "
            "set config.model.scorer=dot or use sampled_softmax"
        )
    if loss.recommendation != "softmax" and train.negatives < 1:
        raise InputError(
            f"config.train.negatives: {loss.recommendation} needs at least 1; set it to 4"
        )
    _check_second(settings.second, settings.reasoner.steps)


def _check_second(second: SecondSettings, steps: int) -> None:
    if second.kind == "none":
        if second.start:
            raise InputError(
                f"config.second.start = {second.start}: there is no second stage; set "
                "config.second.kind=reinforce, or another kind"
            )
        return
    if steps == 0 and second.kind in ROLLING:
        raise InputError(
            f"config.second.kind: {second.kind} needs reasoning steps, and config.reasoner.steps "
            "is 0; set it to 1 or more, or use more or ranking"
        )
    if steps == 0 and second.train == "reasoner":
        raise InputError(
            "config.second.train: there is no reasoner to train, config.reasoner.steps is 0; "
            "set config.second.train=all"
        )
