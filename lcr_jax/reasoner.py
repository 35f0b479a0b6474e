"""Latent cross reasoning: K steps over the searches, in latent space.

Shapes: [B] batch  [K] reasoning steps  [N] searches  [M] rec events  [H] heads  [D] width
Iterating over searches in latent space: abstract of arXiv 2508.04152; every form is ours.
"""

from __future__ import annotations

from collections.abc import Callable
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
    past: tuple[Projected, ...]  # keys and values [B, 1, ...] of the states before it


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
        return self.walk(intent, memory, lambda k, mean: mean, deterministic)[0]

    def walk(
        self,
        intent: jax.Array,
        memory: Memory,
        choose: Callable[[int, jax.Array], jax.Array],
        deterministic: bool,
    ) -> tuple[Reasoning, jax.Array]:
        """K >= 1 steps, where choose(k, mu_k [B, D]) says which state [B, D] they go on from.

        Returns the reasoning and the means mu_k [B, K, D].
        """
        # Weights are shared and the memory is fixed: projected once, for all steps.
        searches = self.cross_search.project(self.memory_norm(memory.search))
        states = [intent]
        steps: list[Step] = []
        for k in range(1, self.settings.steps + 1):
            past = steps[-1].past if steps else ()
            step = self._step(k, states[-1], past, searches, memory, deterministic)
            steps.append(step)
            states.append(choose(k, step.mean))
        evidence = jnp.stack([step.evidence for step in steps], axis=1)
        gates = jnp.stack([step.openness for step in steps], axis=1)
        reasoning = Reasoning(jnp.stack(states, axis=1), evidence, gates, evidence.mean((1, 2)))
        return reasoning, jnp.stack([step.mean for step in steps], axis=1)

    def _step(
        self,
        k: int,
        state: jax.Array,
        past: tuple[Projected, ...],
        searches: Projected,
        memory: Memory,
        deterministic: bool,
    ) -> Step:
        """Step k >= 1 from the state r_{k-1} [B, D]; past: of r_0 .. r_{k-2}, as the last step left
        it; searches: projected.

        The states may be the reasoner's own or sampled ones: nothing else is remembered.
        """
        here = state + self.places[k]
        # A state is looked at by every later step in the same way: projected once, when it comes.
        both = self.state_norm(jnp.stack([state + self.places[k - 1], here], axis=1))
        queries, projected = self.look_back.project_all(both)
        past = (*past, Projected(*(part[:, :1] for part in projected)))
        seen = Projected(*(jnp.concatenate(parts, axis=1) for parts in zip(*past, strict=True)))
        look = self.look_back.mix(queries[:, 1:], seen, None, deterministic)
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
        return Step(u + self.inner(self.inner_norm(u)), weights[:, :, 0], openness, past)

    def _reground(self, u: jax.Array, memory: Memory, deterministic: bool) -> jax.Array:
        looked, _ = self.ground(
            self.ground_norm(u)[:, None], self.rec_norm(memory.rec), memory.rec_mask, deterministic
        )
        # A user without rec events reads nothing, not the bias of the output map.
        return looked[:, 0] * memory.rec_mask.any(axis=1, keepdims=True)
