"""The LCR model: embedding -> global encoder -> intent -> reasoning -> scores.

Reconstruction from the abstract of arXiv 2508.04152; no public code of the method exists.

Shapes: [B] batch  [C] candidates  [n] catalogue items  [D] width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dense import Dense
from common.nn.embedding import Embedding, Lookup, table_init
from common.nn.shards import count_shards
from lcr_jax.encoder import Encoder, Intent, Memory
from lcr_jax.readout import keep_steps
from lcr_jax.reasoner import Reasoner, Reasoning
from lcr_jax.scorer import Scorer
from lcr_jax.settings import ModelSettings
from lcr_jax.support import start_at_identity

Arrays = Mapping[str, jax.Array]


class Encoded(NamedTuple):
    """A batch after encoding and reasoning; candidates have not been seen yet."""

    reasoning: Reasoning
    memory: Memory
    user: jax.Array | None


class LCR(nn.Module):
    """Latent cross reasoning. Batches are those of `common.data.view.View`."""

    settings: ModelSettings

    def setup(self) -> None:
        s = self.settings
        self.embedding = Embedding(s.width, s.n_items, s.n_tokens, s.n_categories)
        self.encoder = Encoder(s)
        self.intent = Intent(s)
        self.reasoner = Reasoner(s)
        self.scorer = Scorer(s)
        # Both maps of the contrastive loss live here so that they are trained and saved with
        # the model: P for states, P' for target items.
        self.state_map = Dense(s.width)
        self.item_map = Dense(s.width)
        self.temperature_scale = self.param("temperature_scale", nn.initializers.zeros, ())
        self.alignment_form = self.param("alignment_form", start_at_identity, (s.width, s.width))
        self.alignment_scale = self.param("alignment_scale", nn.initializers.zeros, ())
        if s.user:
            self.user_id = nn.Embed(s.n_users + 1, s.width, embedding_init=table_init)

    def lookup(self, batch: Arrays, constants: Arrays) -> Lookup:
        """Item and query vectors for the ids of this batch."""
        rows = len(batch["target"])
        histories = batch["rec_item"].size + batch["search_click"].size
        return Lookup(self.embedding, constants, histories // count_shards(rows), rows)

    def encode(self, batch: Arrays, lookup: Lookup, deterministic: bool) -> Encoded:
        """Encodes the histories and runs the K reasoning steps."""
        s = self.settings
        rows = batch["target"].shape[0]
        chex.assert_shape(batch["rec_item"], (rows, s.rec_length))
        chex.assert_shape(batch["search_query"], (rows, s.search_length))
        chex.assert_shape(batch["order"], (rows, s.rec_length + s.search_length))
        user = None
        if s.user:
            user = jnp.tanh(self.user_id(batch["user"])) * (batch["user"] != 0)[:, None]
        memory = self.encoder(
            lookup.items(batch["rec_item"]),
            batch["rec_mask"] != 0,
            lookup.searches(batch["search_query"], batch["search_click"]),
            batch["search_mask"] != 0,
            batch["order"],
            deterministic,
        )
        intent = self.intent(memory, batch["order"], user)
        reasoning = self.reasoner(intent, memory, deterministic)
        if s.read_step >= 0:
            reasoning = keep_steps(reasoning, s.read_step, memory.search_mask)
        return Encoded(reasoning, memory, user)

    def score(self, encoded: Encoded, items: jax.Array) -> jax.Array:
        """Scores float32 [B, C] of each row's own candidates, vectors [B, C, D]."""
        return self.scorer(*encoded, items)

    def query(self, encoded: Encoded) -> jax.Array:
        """The vectors [B, D] whose inner products with item vectors are the `dot` scores."""
        return self.scorer.query(encoded.reasoning.last)

    def __call__(self, batch: Arrays, constants: Arrays, candidates: jax.Array) -> jax.Array:
        """Touches every parameter; used by `init` only."""
        lookup = self.lookup(batch, constants)
        encoded = self.encode(batch, lookup, True)
        vectors = lookup.items(candidates)
        self.state_map(encoded.reasoning.states), self.item_map(vectors)
        lookup.queries(batch["search_query"])
        return self.scorer(*encoded, vectors)
