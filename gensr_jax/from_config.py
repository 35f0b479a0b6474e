"""From settings to the frozen values that GenSR is made of."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data.dataset import Dataset
from common.data.events import PARTS
from common.data.view import View
from common.errors import InputError
from common.npy_files import read_npy
from common.settings.reading import take_fields
from common.training.task import Task
from gensr_jax.backbone import (
    check_backbone,
    check_weights,
    choose_t5,
    identify_backbone,
    place_backbone,
)
from gensr_jax.graph import build_graph
from gensr_jax.lightgcn import init_lightgcn
from gensr_jax.model import GenSR
from gensr_jax.pretrain import make_pretrain_stage
from gensr_jax.prompt import build_prompts, make_layout, measure_rec
from gensr_jax.published_prompt import build_published_prompts, mark_template
from gensr_jax.settings import LossSettings, ModelSettings, Settings
from gensr_jax.task import Collaborative, Texts, make_task
from gensr_jax.titles import build_titles
from gensr_jax.tokens import choose_vocabulary, read_query_ids
from gensr_jax.vocabulary import Vocabulary, identify


class Opened(NamedTuple):
    """A task, and what it is made of."""

    task: Task
    module: GenSR  # for the part `model` of the task's parameters
    loss: LossSettings


def open_task(settings: Settings, dataset: Dataset) -> Opened:
    """See `gensr_jax.build` and `gensr_jax.open_model`."""
    check_settings(settings)
    backbone, length = settings.backbone, settings.data.history_length
    check_backbone(backbone, settings.t5.size)
    vocabulary, texts = read_texts(settings, dataset)
    full_head = settings.model.head == "full"
    model = take_fields(
        ModelSettings,
        settings.data,
        settings.model,
        t5=choose_t5(backbone, settings.t5, vocabulary, full_head=full_head),
        n_items=dataset.n_items,
        yes=vocabulary.yes,
        no=vocabulary.no,
        title_length=settings.text.title_head,
        cf_width=settings.cf.width,
        score_rows=settings.eval.score_rows,
    )
    _check_heads(model)
    view = take_fields(
        View,
        settings.data,
        settings.train,
        task="rec",
        rec_length=length,
        search_length=length,
        clicks=1,
    )
    task = make_task(
        model,
        settings.loss,
        settings.train,
        view,
        texts,
        read_collaborative(settings, dataset, view),
        settings.eval.retrieve,
        tasks=("rec", "search") if has_searches(dataset) else ("rec",),
    )._replace(identities=(identify(vocabulary),))
    if backbone:
        found = identify_backbone(backbone)
        task = task._replace(
            identities=(*task.identities, *filter(None, [found])),
            pretrained=partial(place_backbone, backbone, vocabulary),
            check_pretrained=partial(check_weights, backbone),
        )
    return Opened(task, GenSR(model), settings.loss)


def read_texts(settings: Settings, dataset: Dataset) -> tuple[Vocabulary, Texts]:
    """The vocabulary that is asked for, and titles and prompts in its tokens.

    Tells on stderr how much was cut and what has no text.
    """
    text = settings.text
    rec, search = text.rec, text.search
    if text.prompt == "no_task":
        rec = search = f"{rec} {{query}}"
    on = {"cf": settings.model.cf_view, "sem": settings.model.semantic_view}
    layout = make_layout(rec, search, text.noun, [view for view in on if on[view]])
    published = text.prompt == "published"
    released = [mark_template(template) for template in (rec, search)]
    vocabulary = choose_vocabulary(
        dataset,
        settings.backbone or text.tokens,
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


def read_collaborative(settings: Settings, dataset: Dataset, view: View) -> Collaborative:
    """Where the CF table comes from. Raises InputError for a given one that does not fit."""
    cf = settings.cf
    if not settings.model.cf_view:
        return Collaborative()
    if cf.given:
        return Collaborative(given=read_given_table(Path(cf.given), dataset.n_items, cf.width))
    return Collaborative(
        stage=make_pretrain_stage(cf, view, "both" if has_searches(dataset) else "rec"),
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


def check_settings(settings: Settings) -> None:
    """Raises InputError for values that do not go together."""
    model = settings.model
    for key, value, needed in (
        ("loss.task", settings.loss.task, "vocab_ce"),
        ("model.score", model.score, "probability"),
    ):
        if value == needed and model.head != "full":
            raise InputError(f"config.{key} = {needed}: needs config.model.head=full; set it")
    if settings.eval.evidence:
        raise InputError("config.eval.evidence: GenSR gives searches no weights; set it to false")
    if not (model.cf_view or model.semantic_view):
        raise InputError("config.model: both views are off; leave cf_view or semantic_view on")


def _check_heads(model: ModelSettings) -> None:
    for name, width in (("config.cf.width", model.cf_width), ("the width of T5", model.t5.width)):
        if width % model.heads:
            raise InputError(
                f"config.model.heads = {model.heads}: does not divide {name}, {width}; change it"
            )
