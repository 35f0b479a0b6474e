"""A trained model read before its last step: what it would say after k of its K steps.

Shapes: [B] batch  [K] reasoning steps  [k] steps kept  [N] searches
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from lcr_jax.reasoner import Reasoning


def keep_steps(reasoning: Reasoning, steps: int, search_mask: jax.Array) -> Reasoning:
    """The first k states, weights and gates; scores then come from r_k. Source: ours.

    steps:       k in 0..K
    search_mask: bool [B, N + 1], as in `Memory`; with k = 0 the evidence is uniform over it
    Raises ValueError for k out of range.
    """
    known = reasoning.states.shape[1] - 1
    if not 0 <= steps <= known:
        raise ValueError(f"step {steps}: the model has the steps 0 to {known}")
    evidence = reasoning.evidence[:, :steps]
    if steps == 0:
        mean = search_mask / search_mask.sum(axis=1, keepdims=True).astype(jnp.float32)
    else:
        mean = evidence.mean(axis=(1, 2))
    return Reasoning(reasoning.states[:, : steps + 1], evidence, reasoning.gates[:, :steps], mean)
