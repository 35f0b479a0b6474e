"""Random data, for measuring speed: a dataset in memory, and batches of realistic lengths.

Shapes: [B] batch  [M] rec history  [N] searches  [P] clicks per search  [n] negatives
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.data.dataset import Dataset
from common.data.events import PARTS, TASKS, RecEvents, make_searches
from common.data.view import View

MEAN_REC, MEAN_SEARCH = 20, 10  # before the cut to the history's length
WORDS, TOKENS, CATEGORIES, USERS = 8, 3000, 50, 1000


def draw_dataset(rng: np.random.Generator, items: int, queries: int) -> Dataset:
    """A dataset without searches of its own: what a method reads of one when it is built."""
    targets = draw_items(rng, items, (4 * items,))
    count = len(targets)
    zeros = np.zeros(count, np.int32)
    rec = RecEvents(zeros, np.arange(count), zeros, targets, np.ones(count, np.uint8))
    none = np.zeros(0, np.int32)
    search = make_searches(none, np.zeros(0, np.int64), none, none, np.zeros(1, np.int64), none)
    words = rng.integers(1, TOKENS + 1, (queries + 1, WORDS), dtype=np.int32)
    words[np.arange(WORDS) >= rng.integers(1, WORDS + 1, (queries + 1, 1))] = 0
    categories = rng.integers(0, CATEGORIES + 1, (items + 1, 4), dtype=np.int32)
    words[0] = categories[0] = 0
    rows = {(task, part): np.zeros(0, np.int64) for task in TASKS for part in PARTS}
    rows["rec", "train"] = np.arange(count)
    return Dataset(
        path=Path("random"),
        manifest={"name": "random"},
        split="random",
        history_order="time",
        n_users=USERS,
        n_items=items,
        n_queries=queries,
        n_tokens=TOKENS,
        rec=rec,
        search=search,
        rows=rows,
        query_tokens=words,
        item_categories=categories,
        load_lists=lambda task, part: {},
    )


def draw_batch(
    rng: np.random.Generator, dataset: Dataset, view: View, rows: int, full: bool = False
) -> dict[str, np.ndarray]:
    """A batch of a view's shapes, without the fields that stay on the host.

    History lengths are geometric, cut at the view's lengths; items are drawn by a power law.
    full: rec histories are as long as the view's
    """
    lengths = np.full(rows, view.rec_length) if full else rng.geometric(1 / MEAN_REC, rows)
    rec_mask = _mask_lengths(lengths, view.rec_length)
    search_mask = _mask_lengths(rng.geometric(1 / MEAN_SEARCH, rows) - 1, view.search_length)
    clicked = rng.geometric(0.5, (rows, view.search_length)) - 1
    clicks = draw_items(rng, dataset.n_items, (rows, view.search_length, view.clicks))
    clicks *= search_mask[..., None] & (np.arange(view.clicks) < clicked[..., None])
    queries = rng.integers(1, dataset.n_queries + 1, search_mask.shape, dtype=np.int32)
    return {
        "task": np.zeros(rows, np.uint8),
        "valid": np.ones(rows, np.uint8),
        "user": rng.integers(1, dataset.n_users + 1, rows, dtype=np.int32),
        "target": draw_items(rng, dataset.n_items, (rows,)),
        "query": np.zeros(rows, np.int32),
        "negatives": draw_items(rng, dataset.n_items, (rows, view.negatives)),
        "rec_item": draw_items(rng, dataset.n_items, rec_mask.shape) * rec_mask,
        "rec_mask": rec_mask.astype(np.uint8),
        "search_query": queries * search_mask,
        "search_mask": search_mask.astype(np.uint8),
        "search_click": clicks,
        "order": _shuffle_timeline(rng, np.concatenate([rec_mask, search_mask], axis=1)),
    }


def draw_items(rng: np.random.Generator, items: int, shape: tuple[int, ...]) -> np.ndarray:
    """Item ids int32, the first ones the most popular."""
    # The square of a uniform number has the density of a power law with exponent -1/2.
    return (1 + items * rng.random(shape) ** 2).astype(np.int32)


def _mask_lengths(lengths: np.ndarray, most: int) -> np.ndarray:
    """bool [B, most]: the first `lengths` [B] entries of each row."""
    return np.arange(most) < lengths[:, None]


def _shuffle_timeline(rng: np.random.Generator, real: np.ndarray) -> np.ndarray:
    """Recency ranks int32 [B, M + N] in a random order of the real slots; pads have M + N."""
    rank = np.where(real, rng.random(real.shape), 2.0).argsort(axis=1).argsort(axis=1)
    return np.where(real, rank, real.shape[1]).astype(np.int32)
