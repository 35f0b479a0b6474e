"""What every kind of second stage shares: a batch encoded once, its candidates, their scores.

Shapes: [B] batch  [C] candidates  [G] rollouts  [K] reasoning steps  [D] width
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from common.nn.losses import masked_average
from lcr_jax.model import LCR, Encoded
from lcr_jax.policy import Rollout, follow, roll_out
from lcr_jax.reasoner import Reasoning
from lcr_jax.rewards import REWARDS, Candidates, compare_rewards
from lcr_jax.settings import Second

Arrays = Mapping[str, jax.Array]
Figures = dict[str, jax.Array]


class Shared(NamedTuple):
    """What the term of a second stage is computed from."""

    model: LCR
    second: Second
    params: Any  # that encoded the batch; rollouts and scores are made by them too
    constants: Arrays
    batch: Arrays
    encoded: Encoded  # without noise and without dropout: plain inference
    candidates: Candidates
    vectors: jax.Array  # [B, C, D] of the candidates
    noise: jax.Array | None  # [G, K, B, D], of `draw_noise`; None for kinds without rollouts

    def roll_out(self, through_samples: bool = False) -> Rollout:
        """G walks through the steps, see `lcr_jax.policy.roll_out`."""
        assert self.noise is not None
        scale = self.second.noise
        return roll_out(self.model, self.params, self.encoded, self.noise, scale, through_samples)

    def follow(self, states: jax.Array) -> jax.Array:
        """The means [G, B, K, D] along states [G, B, K + 1, D] that others have walked."""
        return follow(self.model, self.params, self.encoded, states)

    def score(self, reasoning: Reasoning) -> jax.Array:
        """Scores float32 [B, C] of the candidates by a reasoning's last state and evidence."""
        encoded = self.encoded._replace(reasoning=reasoning)
        return self.model.apply({"params": self.params}, encoded, self.vectors, method=LCR.score)

    def score_rollouts(self, reasoning: Reasoning) -> jax.Array:
        """The same, float32 [G, B, C], of a reasoning with the axis [G] in front."""
        return jax.vmap(self.score)(reasoning)

    def reference(self) -> Shared:
        """The same batch by constants["start"], the frozen copy of the stage's first parameters.

        Where only the reasoner is trained, encoder and embeddings still are those of the copy, and
        so is what they gave: nothing is encoded again.
        """
        params = self.constants["start"]
        if self.second.train == "reasoner":
            return self._replace(params=params)

        def run(module: LCR) -> tuple[Encoded, jax.Array]:
            lookup = module.lookup(self.batch, self.constants)
            encoded = module.encode(self.batch, lookup, deterministic=True)
            return encoded, lookup.items(self.candidates.items)

        encoded, vectors = self.model.apply({"params": params}, method=run)
        return self._replace(params=params, encoded=encoded, vectors=vectors)

    def average(self, values: jax.Array, counts: jax.Array | bool = True) -> jax.Array:
        """The mean of values [..., B] over the leading axes and the real rows, of which `counts`,
        bool [B], may leave out some."""
        mean = values.mean(axis=tuple(range(values.ndim - 1)))
        return masked_average(mean, self.batch["valid"] * counts)

    def reward(self, scores: jax.Array) -> jax.Array:
        """What scores [..., B, C] are paid, float32 [..., B]."""
        return REWARDS[self.second.reward](scores, self.candidates.allowed)

    def pay(self, scores: jax.Array) -> tuple[jax.Array, jax.Array, Figures]:
        """Advantages and which rows count, as `compare_rewards`, of scores [G, B, C]; constants for
        the gradient. The figures:

        reward, greedy_reward   mean over rollouts; of the first one, which has no noise
        reward_std              within groups, mean over users: the advantage's spread
        masked_share            users whose rollouts were all paid the same: no policy term
        """
        rewards = self.reward(jax.lax.stop_gradient(scores))
        advantage, differs = compare_rewards(rewards)
        figures = {
            "reward": self.average(rewards),
            "greedy_reward": self.average(rewards[0]),
            "reward_std": self.average(rewards.std(axis=0)),
            "masked_share": self.average(~differs),
        }
        return advantage, differs, figures
