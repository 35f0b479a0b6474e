"""Scores of candidates: an inner product with the last state, plus an MLP with target attention.

Shapes: [B] batch  [C] candidates  [n] catalogue items  [L] history length  [D] width
Source: ours; target attention and the 200-80-1 MLP follow UniSAR and GSERec.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import masked_softmax
from common.nn.dense import Dense
from common.nn.norm import LayerNorm
from lcr_jax.encoder import Memory
from lcr_jax.reasoner import Reasoning
from lcr_jax.settings import ModelSettings


class TargetAttention(nn.Module):
    """What a history says about each candidate: softmax_j(h_j W e) h_j."""

    width: int

    @nn.compact
    def __call__(
        self,
        history: jax.Array,
        mask: jax.Array,
        candidates: jax.Array,
        log_prior: jax.Array | None = None,
    ) -> jax.Array:
        """history [B, L, D], mask bool [B, L], candidates [B, C, D], log_prior [B, L] added to
        the logits. Returns [B, C, D]; zeros where the history is empty."""
        form = self.param("form", nn.initializers.xavier_normal(), (self.width, self.width))
        logits = jnp.einsum("bld,de,bce->bcl", history, form, candidates) * self.width**-0.5
        if log_prior is not None:
            logits = logits + log_prior[:, None, :]
        return jnp.einsum("bcl,bld->bcd", masked_softmax(logits, mask[:, None, :]), history)


class Scorer(nn.Module):
    """Score of a state and a candidate.

    `dot`: w <LN r_K, e> / sqrt(D). `dot_mlp` adds MLP[r_K ; rec read-out ; search read-out ; user ;
    e], where the evidence of the reasoning steers which searches are read.
    """

    settings: ModelSettings

    def setup(self) -> None:
        s = self.settings
        self.norm = LayerNorm()
        self.scale = self.param("scale", nn.initializers.ones, ())
        if s.scorer == "dot_mlp":
            self.rec_attention = TargetAttention(s.width)
            self.search_attention = TargetAttention(s.width)
            # One dense layer over a concatenation is a sum of dense layers over its parts: the
            # part of the state is computed once per user, not once per candidate.
            self.from_state = Dense(200)
            self.from_rec = Dense(200, use_bias=False)
            self.from_search = Dense(200, use_bias=False)
            self.from_user = Dense(200, use_bias=False)
            self.from_item = Dense(200, use_bias=False)
            self.hidden = Dense(80)
            self.last = Dense(1)

    def query(self, state: jax.Array) -> jax.Array:
        """The vector [B, D] whose inner product with an item vector is the `dot` score."""
        return self.scale * self.norm(state) * self.settings.width**-0.5

    def __call__(
        self, reasoning: Reasoning, memory: Memory, user: jax.Array | None, items: jax.Array
    ) -> jax.Array:
        """Scores float32 [B, C] of each row's own candidates, vectors [B, C, D]."""
        state = reasoning.last
        dot = jnp.einsum("bd,bcd->bc", self.query(state), items).astype(jnp.float32)
        if self.settings.scorer == "dot":
            return dot
        prior = None
        if self.settings.evidence_mode == "log":
            prior = jnp.log(reasoning.mean_evidence + 1e-6)
        inner = (
            self.from_state(state)[:, None]
            + self.from_rec(self.rec_attention(memory.rec, memory.rec_mask, items))
            + self.from_search(
                self.search_attention(memory.search, memory.search_mask, items, prior)
            )
            + self.from_item(items)
        )
        if user is not None:
            inner = inner + self.from_user(user)[:, None]
        return dot + self.last(nn.relu(self.hidden(nn.relu(inner))))[..., 0].astype(jnp.float32)
