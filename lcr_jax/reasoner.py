"""Latent cross reasoning: K steps over the searches, in latent space.

Shapes: [B] batch  [K] reasoning steps  [N] searches  [M] rec events  [H] heads  [D] width
Iterating over searches in latent space: abstract of arXiv 2508.04152; every form is ours.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import FeedForward, MultiHeadAttention
from lcr_jax.encoder import Memory
from lcr_jax.settings import ModelSettings


class Reasoning(NamedTuple):
    """What the steps produced."""

    states: jax.Array  # [B, K + 1, D]: r_0 .. r_K
    evidence: jax.Array  # float32 [B, K, H, N + 1]: attention over null event and searches
    gates: jax.Array  # [B, K]: mean of the gate, 1 where the gate is off
    mean_evidence: jax.Array  # float32 [B, N + 1]: mean over steps and heads; rows sum to 1

    @property
    def last(self) -> jax.Array:
        """The final state r_K [B, D]."""
        return self.states[:, -1]


class Reasoner(nn.Module):
    """K reasoning steps with shared weights.

    Each step looks back at the earlier states, attends to the searches, gates what it found and
    refines. The search memory is never changed, steps never see later steps, and no state ever
    sees a candidate: the K steps run once per user.
    """

    settings: ModelSettings

    def setup(self) -> None:
        s = self.settings
        if s.steps == 0:
            return
        self.places = self.param("places", nn.initializers.normal(0.02), (s.steps + 1, s.width))
        self.look_back = MultiHeadAttention(s.width, s.heads)
        self.cross_search = MultiHeadAttention(s.width, s.heads)
        self.state_norm, self.query_norm = nn.LayerNorm(), nn.LayerNorm()
        self.memory_norm, self.inner_norm = nn.LayerNorm(), nn.LayerNorm()
        self.inner = FeedForward(s.width)
        if s.gate:
            self.gate = nn.Dense(s.width)
        if s.reground:
            self.ground = MultiHeadAttention(s.width, s.heads)
            self.ground_norm, self.rec_norm = nn.LayerNorm(), nn.LayerNorm()

    def __call__(self, intent: jax.Array, memory: Memory, deterministic: bool) -> Reasoning:
        """intent r_0 [B, D]. With K = 0 the result is r_0 and uniform evidence."""
        s = self.settings
        batch = intent.shape[0]
        mask = memory.search_mask
        if s.steps == 0:
            uniform = mask / mask.sum(axis=1, keepdims=True).astype(jnp.float32)
            nothing = jnp.zeros((batch, 0, s.heads, mask.shape[1]), jnp.float32)
            return Reasoning(intent[:, None], nothing, jnp.zeros((batch, 0)), uniform)
        # The weights are shared and the memory never changes: project it once for all steps.
        searches = self.cross_search.project(self.memory_norm(memory.search))
        states, evidence, gates = [intent], [], []
        for step in range(1, s.steps + 1):
            past = jnp.stack(states, axis=1) + self.places[:step]
            here = states[-1] + self.places[step]
            look = self.look_back(
                self.state_norm(here)[:, None],
                self.state_norm(past),
                jnp.ones(past.shape[:2], bool),
                deterministic,
            )
            u = here + look[0][:, 0]
            found, weights = self.cross_search.attend(
                self.query_norm(u)[:, None], searches, mask, deterministic
            )
            found = found[:, 0]
            if s.gate:
                gate = nn.sigmoid(self.gate(jnp.concatenate([u, found], axis=-1)))
                found, openness = gate * found, gate.mean(axis=-1)
            else:
                openness = jnp.ones(batch)
            u = u + found
            if s.reground:
                u = u + self._reground(u, memory, deterministic)
            states.append(u + self.inner(self.inner_norm(u)))
            evidence.append(weights[:, :, 0])
            gates.append(openness)
        stacked = jnp.stack(evidence, axis=1)
        return Reasoning(
            jnp.stack(states, axis=1),
            stacked,
            jnp.stack(gates, axis=1),
            stacked.mean(axis=(1, 2)),
        )

    def _reground(self, u: jax.Array, memory: Memory, deterministic: bool) -> jax.Array:
        looked, _ = self.ground(
            self.ground_norm(u)[:, None], self.rec_norm(memory.rec), memory.rec_mask, deterministic
        )
        # A user without rec events reads nothing, not the bias of the output map.
        return looked[:, 0] * memory.rec_mask.any(axis=1, keepdims=True)
