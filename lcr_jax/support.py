"""How well the recommendation history speaks for each search.

Shapes: [B] batch  [M] rec events  [N] searches  [D] width
Source: ours. A search that looks like nothing the user ever took is less often the reason of the
next click; the reasoning can learn that from the encoded events alone, but takes far longer.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import NEGATIVE
from common.nn.dense import Dense
from lcr_jax.losses import unit

SHARPNESS = 4.0  # start of the learned factor on the cosines
FADING = 0.05  # start of the learned loss of weight per place of age


class Support(nn.Module):
    """A prior of the evidence: log mean_j exp(sharpness * cos(W s_n, W e_j) - fading * rank_j).

    The mean is over rec events j, rank_j is their recency rank in the merged timeline. W starts as
    the identity: items and queries share a space. The null event has a learned value
    of its own. Without rec events nothing speaks for or against a search: 0 everywhere.
    """

    width: int

    @nn.compact
    def __call__(
        self, rec: jax.Array, rec_mask: jax.Array, rank: jax.Array, searches: jax.Array
    ) -> jax.Array:
        """rec [B, M, D] and searches [B, N, D] event vectors before the encoder, rec_mask bool
        and rank int32 [B, M]. Returns float32 [B, N + 1], the null event first."""
        sharpness = self.param("sharpness", nn.initializers.constant(math.log(SHARPNESS)), ())
        fading = self.param("fading", nn.initializers.constant(FADING), ())
        null = self.param("null", nn.initializers.zeros, ())
        project = Dense(self.width, use_bias=False, kernel_init=start_at_identity, name="map")
        cosine = jnp.einsum("bnd,bmd->bnm", unit(project(searches)), unit(project(rec)))
        logits = jnp.exp(sharpness) * cosine.astype(jnp.float32)
        logits = logits - fading * rank[:, None, :]
        logits = jnp.where(rec_mask[:, None, :], logits, NEGATIVE)
        count = jnp.maximum(rec_mask.sum(axis=1), 1)[:, None]
        match = jax.nn.logsumexp(logits, axis=2) - jnp.log(count)
        match = jnp.concatenate([jnp.full_like(match[:, :1], null), match], axis=1)
        return jnp.where(rec_mask.any(axis=1)[:, None], match, 0.0)


def start_at_identity(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Any:
    """An initializer: the identity matrix."""
    del key
    rows, columns = shape
    return jnp.eye(rows, columns, dtype=dtype)
