"""Latent cross reasoning: K steps over the searches, in latent space.

Shapes: [B] batch  [K] reasoning steps  [N] searches  [M] rec events  [H] heads  [D] width
Iterating over searches in latent space: abstract of arXiv 2508.04152; every form is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import FeedForward, MultiHeadAttention, Projected
from common.nn.norm import LayerNorm
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


class Step(NamedTuple):
    """What one step produced."""

    mean: jax.Array  # [B, D]: mu_k, the next state where nothing is sampled
    evidence: jax.Array  # float32 [B, H, N + 1]
    openness: jax.Array  # [B]: mean of the gate


def gather_steps(
    states: Sequence[jax.Array], evidence: Sequence[jax.Array], gates: Sequence[jax.Array]
) -> Reasoning:
    """One `Reasoning` of K + 1 states [B, D] and what K >= 1 steps gave beside them."""
    stacked = jnp.stack(evidence, axis=1)
    return Reasoning(
        jnp.stack(states, axis=1), stacked, jnp.stack(gates, axis=1), stacked.mean(axis=(1, 2))
    )


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
        self.state_norm, self.query_norm = LayerNorm(), LayerNorm()
        self.memory_norm, self.inner_norm = LayerNorm(), LayerNorm()
        self.inner = FeedForward(s.width)
        if s.support:
            self.trust = self.param("trust", nn.initializers.ones, (s.heads,))
        if s.gate:
            self.gate = nn.Dense(s.width)
        if s.reground:
            self.ground = MultiHeadAttention(s.width, s.heads)
            self.ground_norm, self.rec_norm = LayerNorm(), LayerNorm()

    def __call__(self, intent: jax.Array, memory: Memory, deterministic: bool) -> Reasoning:
        """intent r_0 [B, D]. With K = 0 the result is r_0 and uniform evidence."""
        s = self.settings
        batch = intent.shape[0]
        mask = memory.search_mask
        if s.steps == 0:
            uniform = mask / mask.sum(axis=1, keepdims=True).astype(jnp.float32)
            nothing = jnp.zeros((batch, 0, s.heads, mask.shape[1]), jnp.float32)
            return Reasoning(intent[:, None], nothing, jnp.zeros((batch, 0)), uniform)
        searches = self.project(memory)
        states, evidence, gates = [intent], [], []
        for k in range(1, s.steps + 1):
            result = self.step(k, jnp.stack(states, axis=1), searches, memory, deterministic)
            states.append(result.mean)
            evidence.append(result.evidence)
            gates.append(result.openness)
        return gather_steps(states, evidence, gates)

    def project(self, memory: Memory) -> Projected:
        """Keys and values of the searches, for all steps: weights are shared, memory is fixed."""
        return self.cross_search.project(self.memory_norm(memory.search))

    def step(
        self,
        k: int,
        states: jax.Array,
        searches: Projected,
        memory: Memory,
        deterministic: bool,
    ) -> Step:
        """Step k >= 1, from the states [B, k, D] so far, r_0 .. r_{k-1}; searches: of `project`.

        The earlier states may be the reasoner's own or sampled ones: nothing else is remembered.
        """
        past = states + self.places[:k]
        here = states[:, -1] + self.places[k]
        look = self.look_back(
            self.state_norm(here)[:, None],
            self.state_norm(past),
            jnp.ones(past.shape[:2], bool),
            deterministic,
        )
        u = here + look[0][:, 0]
        prior = None
        if memory.support is not None:
            prior = self.trust[:, None, None] * memory.support[:, None, None]
        found, weights = self.cross_search.attend(
            self.query_norm(u)[:, None], searches, memory.search_mask, deterministic, prior
        )
        found = found[:, 0]
        if self.settings.gate:
            gate = nn.sigmoid(self.gate(jnp.concatenate([u, found], axis=-1)))
            found, openness = gate * found, gate.mean(axis=-1)
        else:
            openness = jnp.ones(u.shape[:1])
        u = u + found
        if self.settings.reground:
            u = u + self._reground(u, memory, deterministic)
        return Step(u + self.inner(self.inner_norm(u)), weights[:, :, 0], openness)

    def _reground(self, u: jax.Array, memory: Memory, deterministic: bool) -> jax.Array:
        looked, _ = self.ground(
            self.ground_norm(u)[:, None], self.rec_norm(memory.rec), memory.rec_mask, deterministic
        )
        # A user without rec events reads nothing, not the bias of the output map.
        return looked[:, 0] * memory.rec_mask.any(axis=1, keepdims=True)
