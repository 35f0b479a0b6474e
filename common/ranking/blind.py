"""Candidates in an order that says nothing: a method ranks without knowing what is right.

In a stored list the positive stands in column 0, and `batch["target"]` is it. A scorer that reads
either, by mistake or not, would rank perfectly. So the columns of each row are shuffled before
`Task.score` sees them, and its scores are put back; `batch["target"]` is the first candidate after
shuffling, whichever that is. Source: ours.

Shapes: [B] batch  [C] candidates, a multiple of 8  [K] candidates of a shortlist, likewise
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from common.data.hashing import FILLER, SHUFFLE, draw_uniform, draw_words
from common.errors import InputError

# Fields of a batch that only the evaluator reads: `take_apart` takes them out.
POSITIVE = "positive"  # int32 [B], the true target
PLACES = "places"  # int16 [B, K], an order for the candidates of a shortlist
STAND_IN = "stand_in"  # int32 [B], a random item, which fills what a shortlist lacks
SEEN = "seen"  # int32 [B, F], items that the full ranking leaves out


class Blind(NamedTuple):
    """A batch as a method sees it, and what only the evaluator knows of its rows."""

    shown: dict[str, jax.Array]  # its target is whichever candidate stands first
    # The same without the lists: who scores the catalogue is not told them, the target is in them
    bare: dict[str, jax.Array]
    target: jax.Array  # int32 [B], the true ones
    stand_in: (
        jax.Array
    )  # as the field of that name; likewise the next two, None where there is none
    seen: jax.Array | None
    places: jax.Array | None


def draw_order(stream: int, row: np.ndarray, columns: int) -> np.ndarray:
    """A random order of the columns for each row number, int16 [B, C]; of nothing else.

    stream: of the task, so that equal row numbers of two tables have orders of their own
    """
    words = draw_words(stream, SHUFFLE, row[:, None], np.arange(columns))
    return np.argsort(words, axis=1).astype(np.int16)


def draw_items(stream: int, row: np.ndarray, count: int, n_items: int) -> np.ndarray:
    """Random items for each row number, int32 [B, count]: they fill up lists, and rank nowhere.

    Not the target again: what stands in a row several times would tell that it is the target.
    """
    uniform = draw_uniform(stream, FILLER, row[:, None], np.arange(count))
    return (1 + np.floor(uniform * n_items)).astype(np.int32)


def pad_columns(columns: int) -> int:
    """How many candidates fill a row up to a multiple of 8.

    Measured on CPU: the columns beyond are multiplied in another order, and equal items would no
    longer tie to the last bit.
    """
    return -columns % 8


def hide_target(
    batch: Mapping[str, np.ndarray], order: np.ndarray, n_items: int
) -> dict[str, np.ndarray]:
    """The batch as a method sees it, with the true target under `POSITIVE`.

    batch: of `common.data.view.View`, the target outside of its negatives int32 [B, C - 1]
    order: int [B, C], from `draw_order`; with C = 1 the target gives way to a random item
    """
    candidates = np.concatenate([batch["target"][:, None], batch["negatives"]], axis=1)
    shown = np.take_along_axis(candidates, order.astype(np.int64), axis=1)
    blank = blank_target(batch, n_items)
    hidden = {POSITIVE: batch["target"], STAND_IN: blank["target"]}
    if candidates.shape[1] == 1:
        return {**blank, **hidden}
    return {**batch, "target": shown[:, 0], "negatives": shown[:, 1:], **hidden}


def blank_target(batch: Mapping[str, np.ndarray], n_items: int) -> dict[str, np.ndarray]:
    """The batch with a random item in the place of the target: where nothing asks for it."""
    return {**batch, "target": draw_items(int(batch["task"][0]), batch["row"], 1, n_items)[:, 0]}


def put_back(scores: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Scores [B, C] of shuffled candidates in the order before: the positive's in column 0."""
    found = np.empty_like(scores)
    np.put_along_axis(found, order.astype(np.int64), scores, axis=1)
    return found


def score_shuffled(
    score: Any, batch: Mapping[str, jax.Array], candidates: jax.Array, places: jax.Array
) -> jax.Array:
    """Scores float32 [B, K] of candidates int32 [B, K], which the method sees in another order.

    score: batch -> scores of its candidates; batch: as a method sees it; places: int [B, K]
    """
    places = places.astype(jnp.int32)
    shown = jnp.take_along_axis(candidates, places, axis=1)
    scores = score({**batch, "target": shown[:, 0], "negatives": shown[:, 1:]})
    return jnp.take_along_axis(scores, jnp.argsort(places, axis=1), axis=1)


def take_apart(batch: Mapping[str, jax.Array]) -> Blind:
    """Parts what a method sees of a batch from `hide_target` from what it does not."""
    hidden = (POSITIVE, PLACES, STAND_IN, SEEN)
    shown = {name: array for name, array in batch.items() if name not in hidden}
    bare = {**shown, "target": batch[STAND_IN], "negatives": shown["negatives"][:, :0]}
    return Blind(shown, bare, batch[POSITIVE], batch[STAND_IN], batch.get(SEEN), batch.get(PLACES))


def check_scores(scores: Any, shape: tuple[int, int], where: str) -> jax.Array:
    """The scores as float32. Raises InputError unless they are one float for each candidate.

    where: the method and its function, for the error. Anything else would be made to fit by
    broadcasting, or rank by a part of itself.
    """
    plain = isinstance(scores, jax.Array) or type(scores) is np.ndarray
    if not plain or scores.shape != shape or not jnp.issubdtype(scores.dtype, jnp.floating):
        kind = type(scores).__name__
        found = f"{scores.dtype}{list(scores.shape)}" if plain else f"a {kind}"
        raise InputError(
            f"{where}: gives {found}, not floats {list(shape)}: one for each candidate of each "
            "row; mend the method"
        )
    return jnp.asarray(scores, jnp.float32)
