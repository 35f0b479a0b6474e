"""From a configuration to the frozen values that GenSR is made of."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.configs.reading import check_values, read_optimizer, read_stopping
from common.data.dataset import Dataset
from common.data.events import PARTS
from common.data.view import View
from common.errors import InputError
from common.npy_files import read_npy
from common.training.optimizers import SCHEDULES
from common.training.task import Task
from gensr_jax.backbone import (
    CHECKPOINT,
    check_backbone,
    check_weights,
    choose_t5,
    identify_backbone,
    place_backbone,
)
from gensr_jax.graph import build_graph
from gensr_jax.lightgcn import init_lightgcn
from gensr_jax.model import GenSR
from gensr_jax.pretrain import PretrainSettings, make_pretrain_stage
from gensr_jax.prompt import build_prompts, make_layout, measure_rec
from gensr_jax.published_prompt import build_published_prompts, mark_template
from gensr_jax.settings import LossSettings, ModelSettings
from gensr_jax.t5 import SIZES
from gensr_jax.task import Collaborative, Texts, TuneSettings, make_task
from gensr_jax.titles import build_titles
from gensr_jax.tokens import choose_vocabulary, read_query_ids
from gensr_jax.vocabulary import Vocabulary, identify

CHOICES = {
    "text.prompt": ("pieces", "published", "no_task"),
    "t5.size": (*SIZES, CHECKPOINT),
    "t5.dtype": ("float32", "bfloat16"),
    "model.semantic_level": ("token", "item"),
    "model.filter": ("mca", "mean", "bilinear"),
    "model.filter_init": ("xavier", "xavier3d"),
    "model.projector": ("mlp", "linear"),
    "model.soft_tokens": ("matched", "raw"),
    "model.contrastive": ("normalised", "published"),
    "model.head": ("two", "full", "towers"),
    "model.score": ("difference", "probability"),
    "cf.table": ("propagated", "layer0"),
    "loss.task": ("bce_z", "group", "vocab_ce"),
    "loss.contrastive_rows": ("positives", "all"),
    "train.negative_sampling": ("mixed", "popularity", "uniform"),
    "train.schedule": SCHEDULES,
}
LEAST = {
    "data.history_length": 1,
    "data.min_history": 0,
    "text.title_head": 1,
    "text.title_full": 1,
    "text.query_length": 1,
    "text.prompt_multiple": 1,
    "model.heads": 1,
    "cf.width": 1,
    "cf.layers": 0,
    "train.batch_size": 1,
    "train.epochs": 1,
    "train.negatives": 1,
    "eval.score_rows": 0,
    "eval.retrieve": 0,
}


class Opened(NamedTuple):
    """A task, and what it is made of."""

    task: Task
    module: GenSR  # for the part `model` of the task's parameters
    loss: LossSettings


def open_task(config: Any, dataset: Dataset) -> Opened:
    """See `gensr_jax.build` and `gensr_jax.open_model`."""
    check_config(config)
    check_backbone(config.backbone, config.t5.size)
    vocabulary, texts = read_texts(config, dataset)
    model = ModelSettings(
        t5=choose_t5(
            config.backbone,
            config.t5.size,
            vocabulary,
            dropout=config.t5.dropout,
            dtype=config.t5.dtype,
            remat=config.t5.remat,
            full_head=config.model.head == "full",
        ),
        n_items=dataset.n_items,
        history_length=config.data.history_length,
        title_length=config.text.title_head,
        cf_width=config.cf.width,
        yes=vocabulary.yes,
        no=vocabulary.no,
        score_rows=config.eval.score_rows,
        **config.model.to_dict(),
    )
    _check_heads(model)
    train = config.train
    view = View(
        task="rec",
        rec_length=config.data.history_length,
        search_length=config.data.history_length,
        clicks=1,
        min_history=config.data.min_history,
        negatives=train.negatives,
        negative_sampling=train.negative_sampling,
        fresh_negatives=train.fresh_negatives,
    )
    tune = TuneSettings(
        batch_size=train.batch_size,
        epochs=train.epochs,
        optimizer=read_optimizer(train),
        t5_rate_share=train.t5_rate_share,
        word_rate_share=train.word_rate_share,
        decays_tables=train.decay_tables,
        stopping=read_stopping(train),
    )
    loss = LossSettings(**config.loss.to_dict())
    task = make_task(
        model, loss, tune, view, texts,
        read_collaborative(config, dataset, view), config.eval.retrieve,
        tasks=("rec", "search") if has_searches(dataset) else ("rec",),
    )._replace(identities=(identify(vocabulary),))  # fmt: skip
    if config.backbone:
        backbone = identify_backbone(config.backbone)
        task = task._replace(
            identities=(*task.identities, *filter(None, [backbone])),
            pretrained=partial(place_backbone, config.backbone, vocabulary),
            check_pretrained=partial(check_weights, config.backbone),
        )
    return Opened(task, GenSR(model), loss)


def read_texts(config: Any, dataset: Dataset) -> tuple[Vocabulary, Texts]:
    """The vocabulary of a configuration, and titles and prompts in its tokens.

    Tells on stderr how much was cut and what has no text.
    """
    text = config.text
    rec, search = text.rec, text.search
    if text.prompt == "no_task":
        rec = search = f"{rec} {{query}}"
    layout = make_layout(rec, search, text.noun)
    published = text.prompt == "published"
    released = [mark_template(template) for template in (rec, search)]
    vocabulary = choose_vocabulary(
        dataset,
        config.backbone or text.tokens,
        size=text.vocabulary,
        prompt=[part.replace("{noun}", text.noun) for part in released]
        if published
        else layout.texts(),
    )
    if published:
        prompts = build_published_prompts(
            vocabulary, dataset.n_queries, rec=released[0], search=released[1], noun=text.noun
        )
    else:
        queries = read_query_ids(dataset, vocabulary)
        prompts = build_prompts(
            layout, vocabulary, queries, text.query_length, text.prompt_multiple
        )
    titles = build_titles(dataset, vocabulary, text.title_head, text.title_full)
    print(
        f"texts: {vocabulary.kind} vocabulary of {vocabulary.size:,} tokens, prompts of "
        f"{prompts.tok.shape[1]}; titles: {titles.empty:,} empty, {titles.cut:,} cut; queries: "
        f"{prompts.empty:,} empty, {prompts.cut:,} cut",
        file=sys.stderr,
    )
    rec_length = measure_rec(prompts.mask, text.prompt_multiple)
    texts = Texts(titles.head, titles.full, prompts.tok, prompts.slot, prompts.mask, rec_length)
    return vocabulary, texts


def read_collaborative(config: Any, dataset: Dataset, view: View) -> Collaborative:
    """Where the CF table comes from. Raises InputError for a given one that does not fit."""
    cf = config.cf
    if not config.model.cf_view:
        return Collaborative()
    if cf.given:
        return Collaborative(given=read_given_table(Path(cf.given), dataset.n_items, cf.width))
    settings = PretrainSettings(
        learning_rate=cf.learning_rate,
        batch_size=cf.batch_size,
        epochs=cf.epochs,
        l2=cf.l2,
        patience=cf.patience,
        eval_every_epochs=cf.eval_every_epochs,
        metric=cf.metric,
    )
    return Collaborative(
        stage=make_pretrain_stage(settings, view, "both" if has_searches(dataset) else "rec"),
        init=partial(
            init_lightgcn, n_users=dataset.n_users, n_items=dataset.n_items, width=cf.width
        ),
        graph=build_graph(dataset, cf.layers),
        form=cf.table,
    )


def has_searches(dataset: Dataset) -> bool:
    """Whether there are searches to learn from or to be judged by; without, rec alone is served."""
    return any(len(dataset.rows["search", part]) for part in PARTS)


def read_given_table(path: Path, n_items: int, width: int) -> np.ndarray:
    """An own CF table, float32 [I + 1, d] with zeros in row 0. Raises InputError."""
    table = read_npy(path, "f", 2, "mend config.cf.given")
    if table.shape != (n_items + 1, width):
        raise InputError(
            f"config.cf.given = {path}: is {table.dtype} {list(table.shape)}; "
            f"give float32 [{n_items + 1}, {width}] (items + 1, config.cf.width)"
        )
    if not np.isfinite(table).all() or table[0].any():
        raise InputError(f"config.cf.given = {path}: row 0 is for no item; make it zeros, and "
                         "every number finite")  # fmt: skip
    return table.astype(np.float32)


def check_config(config: Any) -> None:
    """Raises InputError naming the key that cannot be."""
    check_values(config, CHOICES, LEAST)
    for ours, needed in (("loss.task", "vocab_ce"), ("model.score", "probability")):
        group, name = ours.split(".")
        if config[group][name] == needed and config.model.head != "full":
            raise InputError(f"config.{ours} = {needed}: needs config.model.head=full; set it")
    if config.eval.evidence:
        raise InputError("config.eval.evidence: GenSR gives searches no weights; set it to false")
    if not (config.model.cf_view or config.model.semantic_view):
        raise InputError("config.model: both views are off; leave cf_view or semantic_view on")


def _check_heads(model: ModelSettings) -> None:
    for name, width in (("config.cf.width", model.cf_width), ("the width of T5", model.t5.width)):
        if width % model.heads:
            raise InputError(
                f"config.model.heads = {model.heads}: does not divide {name}, {width}; change it"
            )
