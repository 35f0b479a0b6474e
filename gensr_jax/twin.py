"""The discriminative twin of GenSR: what joint models had before, on the same inputs.

The encoder is shared, the task is not told by the prompt, and each task has a head of its own.
It is what GenSR is held against in the study of gradient conflict.
Source: the paper's discriminative paradigm (shared encoder, task heads); the heads are ours.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dense import Dense

TASKS = ("rec", "search")


class Towers(nn.Module):
    """A head for each task: two layers with GELU, float32."""

    width: int

    @nn.compact
    def __call__(self, state: jax.Array, task: jax.Array) -> jax.Array:
        """Logits of Yes and No, float32 [B, C, 2], by the head of each list's task.

        state: [B, C, D]; task: int [B], an index of `TASKS`. The logit of No is 0.
        """
        x = state.astype(jnp.float32)
        answers = [
            Dense(1, name=f"{name}_outer")(nn.gelu(Dense(self.width, name=f"{name}_inner")(x)))
            for name in TASKS
        ]
        own = jnp.take_along_axis(
            jnp.stack(answers), task.astype(jnp.int32)[None, :, None, None], axis=0
        )[0]
        return jnp.concatenate([own, jnp.zeros_like(own)], axis=-1)
