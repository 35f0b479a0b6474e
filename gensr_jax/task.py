"""GenSR as a `Task`: a CF table from LightGCN, then one model for both tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from common.data.view import View
from common.settings.reading import take_fields
from common.training.cost import Cost
from common.training.task import Optimizer, Retriever, Stage, Stopping, Task
from gensr_jax.cost import BACKWARD, count_forward
from gensr_jax.lightgcn import TABLES, export_table, export_vectors, retrieve
from gensr_jax.model import GenSR
from gensr_jax.probe import probe_gradients
from gensr_jax.scoring import explain_filter, score_candidates
from gensr_jax.settings import LossSettings, ModelSettings, Train
from gensr_jax.tune import tune_loss, tune_terms

WORDS = "model/t5/shared"
# Decay is for matrices that multiply; not for the gains of norms and, but where it is asked for,
# tables of vectors. T5's gains have two axes, as its layers are stacked: axes do not tell.
GAINS = ("gain", "scale")
TABLES_OF_VECTORS = ("shared", "relative_bias", "recency", "place", "null", "cf_shift")


class Texts(NamedTuple):
    """What the model reads, in token ids."""

    title_head: np.ndarray  # int32 [I + 1, T]
    title_full: np.ndarray  # int32 [I + 1, T']
    prompt_tok: np.ndarray  # int32 [Q + 2, L], see `Prompts`
    prompt_slot: np.ndarray  # int8 [Q + 2, L]
    prompt_mask: np.ndarray  # bool [Q + 2, L]
    rec_length: int  # of the prompt in row 0, with the pads of its bucket

    def arrays(self) -> dict[str, np.ndarray]:
        """The constants of a model."""
        return {name: part for name, part in self._asdict().items() if name != "rec_length"}


class Collaborative(NamedTuple):
    """Where the CF table comes from: LightGCN, an array that is given, or nowhere (view off)."""

    stage: Stage | None = None  # of LightGCN
    init: Callable[[jax.Array], Any] | None = None  # key -> LightGCN's parameters
    graph: Mapping[str, np.ndarray] = MappingProxyType({})  # its constants
    form: str = "propagated"  # or "layer0"
    given: np.ndarray | None = None  # float32 [I + 1, d]


def make_task(
    model: ModelSettings,
    loss: LossSettings,
    train: Train,
    view: View,
    texts: Texts,
    collaborative: Collaborative,
    retrieved: int = 0,
    tasks: tuple[str, ...] = ("rec", "search"),
) -> Task:
    """The task of one configuration on one dataset.

    view: of evaluation; the stage `tune` has the same for both tasks at once
    retrieved: items of the catalogue that LightGCN finds and the model ranks again; 0 = none, and
        there are none where LightGCN is not trained
    tasks: what the data has; a log without searches is served by recommendation alone
    """
    retrievers = {}
    if retrieved and collaborative.stage is not None:
        found = Retriever("lightgcn", retrieve, retrieved)
        retrievers = dict.fromkeys(tasks, found)
    module = GenSR(model)
    count, length = 1 + view.negatives, texts.prompt_tok.shape[1]
    optimizer = take_fields(
        Optimizer,
        train,
        decayed=partial(is_decayed, tables=train.decay_tables),
        rate_share=partial(share_rate, train),
    )
    stage = Stage(
        name="tune",
        loss=partial(_tune_loss, module, loss),
        view=replace(view, task="both") if len(tasks) > 1 else view,
        batch_size=train.batch_size,
        epochs=train.epochs,
        optimizer=optimizer,
        stopping=take_fields(Stopping, train),
        trainable=lambda name: name.startswith("model/"),
        cost=Cost(
            rows=count,
            tokens=count * length,
            flop=(1 + BACKWARD) * count_forward(model, length, count),
        ),
        probe=partial(_probe, module, loss),
        prepare=partial(_prepare, collaborative.form if collaborative.stage else ""),
    )
    return Task(
        name="gensr",
        tasks=tasks,
        view=view,
        init=partial(_init, module, loss, texts, collaborative),
        stages=(stage,) if collaborative.stage is None else (collaborative.stage, stage),
        score=partial(_score, module, texts.rec_length),
        explain=partial(_explain, module),
        retrievers=retrievers,
        split_tables=(WORDS, *(TABLES if collaborative.init is not None else ())),
        compute_dtype=model.t5.dtype,
    )


def share_rate(train: Train, name: str) -> float:
    """The share of the new modules' rate for the parameter of that name."""
    if not name.startswith("model/t5/"):
        return 1.0
    return train.t5_rate_share * (train.word_rate_share if name == WORDS else 1.0)


def is_decayed(name: str, tables: bool = False) -> bool:
    """Whether weight decay is for the parameter of that name, as "model/t5/shared".

    tables: whether it is for tables of vectors too
    """
    last = name.split("/")[-1]
    return last not in GAINS and (tables or last not in TABLES_OF_VECTORS)


def _init(
    module: GenSR,
    loss: LossSettings,
    texts: Texts,
    collaborative: Collaborative,
    key: jax.Array,
    batch: Mapping[str, jax.Array],
) -> tuple[dict[str, Any], dict[str, jax.Array]]:
    """Parameters: `model`, `word_rms` (kept, not trained), and `cf` where LightGCN is trained."""
    model_key, cf_key = jax.random.split(key)
    constants = {name: jnp.asarray(array) for name, array in texts.arrays().items()}
    params: dict[str, Any] = {}
    if collaborative.given is not None:
        constants["cf_table"] = jnp.asarray(collaborative.given)
    if collaborative.init is not None:
        params |= collaborative.init(cf_key)
        constants |= {name: jnp.asarray(array) for name, array in collaborative.graph.items()}
    s = module.settings
    shapes = {
        "cf_table": jnp.zeros((s.n_items + 1, s.cf_width)),
        "word_rms": jnp.float32(1.0),
    }

    def touch_all(model: GenSR) -> Any:
        return tune_terms(model, loss, constants | shapes, batch, deterministic=True)

    params["model"] = module.init(model_key, method=touch_all)["params"]
    words = params["model"]["t5"]["shared"]
    params["word_rms"] = jnp.sqrt(jnp.square(words).mean())
    return params, constants


def _prepare(form: str, params: Any, constants: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The constants of `tune`: the CF table that the stage before has learned.

    form: "" where the table is given
    """
    ready = {name: array for name, array in constants.items() if not name.startswith("graph_")}
    if form:
        ready["cf_table"] = export_table(params, constants, form)
        ready |= export_vectors(params, constants)  # what the retriever reads
    return ready | {"word_rms": params["word_rms"]}


def _tune_loss(
    module: GenSR,
    settings: LossSettings,
    params: Any,
    constants: Any,
    batch: Any,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    return tune_loss(module, settings, params["model"], constants, batch, key)


def _probe(
    module: GenSR, settings: LossSettings, params: Any, constants: Any, batch: Any
) -> dict[str, jax.Array]:
    return probe_gradients(module, settings, params["model"], constants, batch)


def _score(module: GenSR, rec_length: int, params: Any, constants: Any, batch: Any) -> jax.Array:
    return score_candidates(module, params["model"], constants, batch, rec_length)


def _explain(module: GenSR, params: Any, constants: Any, batch: Any) -> dict[str, jax.Array]:
    """What `explain_filter` returns, of `candidate_items` in order."""
    return explain_filter(module, params["model"], constants, batch)
