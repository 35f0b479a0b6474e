"""Which arrays a batch has: the view that a method takes of a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class View:
    """Sizes and rules of a batch.

    Shapes: [B] batch  [M] rec history  [N] searches  [P] clicks per search  [n] negatives

    A batch is a dict of numpy arrays of fixed shapes (pads at the end, oldest event first):

    task, valid          uint8 [B]        0 rec, 1 search; valid 0 = padding row
    row                  int64 [B]        row number in the task's table
    user, target, query  int32 [B]        query is 0 for rec
    negatives            int32 [B, n]
    rec_item             int32 [B, M]     rec_age_ms int64, rec_mask uint8: same shape
    search_query         int32 [B, N]     search_row, search_age_ms int64, search_mask uint8
    search_click         int32 [B, N, P]  items clicked before the target's own time, 0 pads; a
                                          search has none that was not clicked, or not yet
    order                int32 [B, M + N] recency rank of each slot (rec slots, then searches) in
                                          the merged timeline, 0 = newest; pads have M + N
    """

    task: str = "rec"  # or "search"; for training also "both", one shuffled stream of their rows
    rec_length: int = 20
    search_length: int = 20
    clicks: int = 5
    searches: bool = True  # False = every search slot is a pad
    min_history: int = 1  # earlier events, of either service, that a target needs
    negatives: int = 4
    negative_sampling: str = "popularity"  # or "uniform", "mixed": see `TrainingNegatives`
    fresh_negatives: bool = True  # drawn anew in every epoch; False = those of the first
    packed: bool = False  # training batches of whole sequences, as `common.data.sequences` has them


# int64 columns join a batch to tables on the host; they never go to the device.
HOST_FIELDS = ("row", "rec_age_ms", "search_row", "search_age_ms")


def candidate_items(batch: Mapping[str, Any]) -> Any:
    """int32 [B, 1 + n]: the target in column 0, then the negatives. Works on numpy and jax."""
    target, negatives = batch["target"], batch["negatives"]
    if isinstance(target, np.ndarray):
        return np.concatenate([target[:, None], negatives], axis=1)
    import jax.numpy as jnp  # the data rooms themselves do not need jax

    return jnp.concatenate([target[:, None], negatives], axis=1)
