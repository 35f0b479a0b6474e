"""LCR as a `Task`: the one value that the trainer and the evaluator see.

Shapes: [B] batch  [C] candidates  [n] catalogue items  [N] searches  [K] reasoning steps
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from common.data.dataset import Dataset
from common.data.negatives import log_draw_shares
from common.data.view import View, candidate_items
from common.nn.blocks import score_blocks
from common.nn.embedding import join_levels
from common.settings.reading import take_fields
from common.training.task import Optimizer, Stage, Stopping, Task
from lcr_jax.model import LCR, Encoded
from lcr_jax.second import make_second
from lcr_jax.settings import LossSettings, ModelSettings, Second, Train
from lcr_jax.supervised import supervised_loss

ITEM_BLOCK = 256  # items that the MLP scorer sees at once: [B, 256, 200] floats stay in cache reach


def make_task(
    model: ModelSettings,
    loss: LossSettings,
    view: View,
    train: Train,
    dataset: Dataset,
    second: Second | None = None,
) -> Task:
    """The task of one configuration on one dataset.

    second: of the stage after the supervised one; None = there is none. Where it starts from the
        workdir of a finished run, it is the only one
    """
    module = LCR(model)
    first = Stage(
        name="supervised",
        loss=partial(supervised_loss, module, loss),
        view=view,
        batch_size=train.batch_size,
        epochs=train.epochs,
        optimizer=take_fields(Optimizer, train),
        stopping=take_fields(Stopping, train),
    )
    stages: tuple[Stage, ...] = (first,)
    if second is not None:
        stages = (make_second(module, loss, second, first),)
        stages = stages if second.start else (first, *stages)
    return Task(
        name="lcr",
        tasks=("rec",),
        view=view,
        init=partial(_init, module, dataset, view),
        stages=stages,
        score=partial(_score, module),
        score_catalogue=partial(_score_catalogue, module),
        explain=partial(_explain, module),
        start=second.start if second else "",
        split_tables=("embedding/item_id/embedding", "embedding/word/embedding"),
    )


def make_constants(dataset: Dataset, view: View) -> dict[str, jax.Array]:
    """Arrays that the model reads and never trains.

    query_tokens int32 [Q + 1, W]; item_categories int32 [I + 1, levels], ids unique over levels;
    log_popularity float32 [I + 1]: log of the probability of drawing the item as a negative.
    """
    return {
        "query_tokens": jnp.asarray(dataset.query_tokens),
        "item_categories": jnp.asarray(join_levels(dataset.item_categories)),
        "log_popularity": jnp.asarray(log_draw_shares(dataset, view.task, view.negative_sampling)),
    }


def _init(
    module: LCR, dataset: Dataset, view: View, key: jax.Array, batch: Mapping[str, jax.Array]
) -> tuple[Any, dict[str, jax.Array]]:
    constants = make_constants(dataset, view)
    candidates = candidate_items(batch)
    return module.init(key, batch, constants, candidates)["params"], constants


def _encode(
    module: LCR, batch: Mapping[str, jax.Array], constants: Mapping[str, jax.Array]
) -> Encoded:
    return module.encode(batch, module.lookup(batch, constants), deterministic=True)


def _score(module: LCR, params: Any, constants: Any, batch: Any) -> jax.Array:
    candidates = candidate_items(batch)

    def run(m: LCR) -> jax.Array:
        items = m.lookup(batch, constants).items(candidates)
        return m.score(_encode(m, batch, constants), items)

    scores = module.apply({"params": params}, method=run)
    return jnp.where(candidates != 0, scores, -jnp.inf)


def _score_catalogue(
    module: LCR, params: Any, constants: Any, batch: Any, items: jax.Array
) -> jax.Array:
    def dot(m: LCR) -> jax.Array:
        vectors = m.embedding.items(items, constants)
        return (m.query(_encode(m, batch, constants)) @ vectors.T).astype(jnp.float32)

    if module.settings.scorer == "dot":
        return module.apply({"params": params}, method=dot)

    # The MLP sees every pair: block by block, or [B, n, 200] would not fit.
    encoded = module.apply({"params": params}, method=lambda m: _encode(m, batch, constants))
    rows = batch["target"].shape[0]

    def score(ids: jax.Array) -> jax.Array:
        def run(m: LCR) -> jax.Array:
            vectors = m.embedding.items(ids, constants)
            return m.score(encoded, jnp.broadcast_to(vectors, (rows, *vectors.shape)))

        return module.apply({"params": params}, method=run)

    return score_blocks(score, items, ITEM_BLOCK)


def _explain(module: LCR, params: Any, constants: Any, batch: Any) -> dict[str, jax.Array]:
    """`evidence` [B, K, heads, N + 1] and its mean `mean_evidence` [B, N + 1] (index 0 = null
    event, then the searches of the batch), `gates` [B, K], `state_norms` [B, K + 1]."""
    encoded = module.apply({"params": params}, method=lambda m: _encode(m, batch, constants))
    reasoning = encoded.reasoning
    return {
        "evidence": reasoning.evidence,
        "mean_evidence": reasoning.mean_evidence,
        "gates": reasoning.gates,
        "state_norms": jnp.linalg.norm(reasoning.states, axis=-1),
    }
