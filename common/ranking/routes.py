"""The two routes to a full ranking: a method scores the catalogue, or what a retriever finds in it.

Shapes: [B] batch  [C] candidates  [I] items of a chunk  [K] chunks
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from common.ranking.blind import Blind, check_scores, score_shuffled
from common.ranking.catalogue import Counts, count_catalogue
from common.ranking.plans import HostBatch
from common.ranking.rerank import (
    Reranked,
    Shortlist,
    bind_finder,
    make_shortlist,
    rerank_catalogue,
)
from common.training.task import Batch, Constants, Params, Task

Model = tuple[Params, Constants, Batch]


@dataclass(frozen=True)
class Traced:
    """A model before one batch of a task, inside of a jit."""

    task: Task
    served: str  # "rec" or "search": whose retriever; "" where the method scores the catalogue
    params: Params
    constants: Constants
    blind: Blind
    # Of a retriever that is another model. An argument of the jit, as params and constants are: a
    # constant would be compiled in.
    other: Model | None
    items: np.ndarray  # int32 [K, I] as from `split_catalogue`

    def score(self, shown: Batch) -> jax.Array:
        """The method's scores of a batch's candidates, float32 [B, C].

        Raises InputError for scores of another form.
        """
        found = self.task.score(self.params, self.constants, shown)
        shape = (len(self.blind.target), 1 + shown["negatives"].shape[1])
        return check_scores(found, shape, f"method {self.task.name}, score")

    def score_items(self, chunk: jax.Array) -> jax.Array:
        """The method's scores of items of the catalogue, [B, I]."""
        assert self.task.score_catalogue is not None
        return self.task.score_catalogue(self.params, self.constants, self.blind.bare, chunk)

    def retrieve(self) -> Shortlist:
        """What the retriever finds, scored by the method."""
        retriever, blind = self.task.retrievers[self.served], self.blind
        assert blind.seen is not None
        assert blind.places is not None
        places = blind.places
        return make_shortlist(
            bind_finder(retriever, self.params, self.constants, blind.bare, self.other),
            lambda items: score_shuffled(self.score, blind.shown, items, places),
            retriever.count,
            blind.target,
            blind.seen,
            blind.stand_in,
            self.items,
        )

    def count(self) -> Counts | Reranked:
        """Where the targets stand in the catalogue, by the route that the method takes."""
        if self.task.score_catalogue is None:
            return rerank_catalogue(self.retrieve(), self.blind.target)
        assert self.blind.seen is not None
        return count_catalogue(self.score_items, self.blind.target, self.blind.seen, self.items)


def place_other(
    task: Task, served: str, beside: HostBatch | None, put_batch: Callable[[HostBatch], Any]
) -> Model | None:
    """`Traced.other` of a batch; None where no other model retrieves.

    beside: the rows as that model sees them, see `hide_targets`
    """
    if beside is None:
        return None
    model = task.retrievers[served].other
    assert model is not None
    return model.params, model.constants, put_batch(beside)
