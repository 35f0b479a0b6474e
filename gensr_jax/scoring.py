"""Scores of candidates: one forward pass, no generation, the history encoded once per list.

Shapes: [B] lists  [C] candidates  [N] joint history
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from common.data.view import candidate_items
from common.nn.blocks import score_blocks
from common.platform import find_platform
from gensr_jax.history import order_history
from gensr_jax.model import GenSR, Histories
from gensr_jax.tune import answer_difference

Arrays = Mapping[str, jax.Array]
CACHED = 2**20  # float32 numbers: 4 MiB
DEVICE_ROWS = 2048
PROMPT = ("prompt_tok", "prompt_slot", "prompt_mask")


def score_candidates(
    module: GenSR, params: Any, constants: Arrays, batch: Arrays, rec_length: int = 0
) -> jax.Array:
    """Evidence for Yes, float32 [B, C], in the order of `candidate_items`; padding gets -inf.

    rec_length: of the prompt of row 0; a batch without queries is scored with prompts of that
        length, which changes its time and not its scores. 0 = always with the longest prompts
    """
    if not 0 < rec_length < constants["prompt_tok"].shape[1]:
        return _score_blocks(module, params, constants, batch)
    short = {**constants, **{name: constants[name][:1, :rec_length] for name in PROMPT}}
    return jax.lax.cond(
        (batch["query"] == 0).all(),
        lambda: _score_blocks(module, params, short, batch),
        lambda: _score_blocks(module, params, constants, batch),
    )


def _score_blocks(module: GenSR, params: Any, constants: Arrays, batch: Arrays) -> jax.Array:
    """As `score_candidates`.

    Candidates are scored in equal blocks, so that B times the block is at most
    `settings.score_rows`. A score depends neither on the block nor on the other candidates.
    """
    candidates = candidate_items(batch)
    rows, count = candidates.shape
    length, width = constants["prompt_tok"].shape[1], module.settings.t5.width
    most = module.settings.score_rows or fit_rows(length * width, find_platform())
    blocks = -(-count // max(1, most // rows))

    def encode(model: GenSR) -> Histories:
        return model.encode_histories(batch, constants, deterministic=True)

    histories = module.apply({"params": params}, method=encode)

    def score(items: jax.Array) -> jax.Array:
        def run(model: GenSR) -> jax.Array:
            soft = model.make_tokens(histories, items, constants)
            logits = model.answer(batch, soft.tokens, constants, deterministic=True)
            if model.settings.score == "difference":
                return answer_difference(model, logits)
            return jax.nn.softmax(logits)[..., model.settings.yes]  # as released

        return module.apply({"params": params}, method=run)

    scores = score_blocks(score, candidates, -(-count // blocks))
    return jnp.where(candidates != 0, scores, -jnp.inf)


def fit_rows(size: int, platform: str) -> int:
    """(list, candidate) rows to score at once, of which each holds `size` numbers in T5's encoder.

    On a CPU the rows stay near its cache: 3 + 3 layers of Flan-T5 base's width with 110 tokens
    were 1.8 times as fast in blocks of 25 rows as in one of 100. An accelerator wants many.
    """
    return max(1, CACHED // size) if platform == "cpu" else DEVICE_ROWS


def explain_filter(
    module: GenSR, params: Any, constants: Arrays, batch: Arrays
) -> dict[str, jax.Array]:
    """Soft filter weights of each candidate over the joint history, newest first.

    Returns `alpha_cf` and `alpha_semantic`, float32 [B, C, N + 1] (entry 0 = no history; tokens of
    an item added up), without the views that are off; and `history_place` int32 [B, N], where in
    the batch the items are, as `order_history` says.
    """
    candidates = candidate_items(batch)

    def run(model: GenSR) -> dict[str, jax.Array]:
        histories = model.encode_histories(batch, constants, deterministic=True)
        soft = model.make_tokens(histories, candidates, constants)
        return model.weights_per_item(soft.weights)

    weights = module.apply({"params": params}, method=run)
    _, place = order_history(batch, module.settings.history_length)
    return {"history_place": place} | {f"alpha_{name}": w for name, w in weights.items()}
