"""Global encoder of both histories, and the intent state that the reasoning starts from.

Shapes: [B] batch  [M] rec events  [N] searches  [D] width
Existence of the encoder: abstract of arXiv 2508.04152; its form is our reconstruction.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import MultiHeadAttention, TransformerLayer, masked_mean
from common.nn.dense import Dense
from common.nn.dropout import Dropout
from common.nn.norm import LayerNorm
from lcr_jax.settings import ModelSettings
from lcr_jax.support import Support


class Memory(NamedTuple):
    """Encoded histories."""

    rec: jax.Array  # [B, M, D]
    rec_mask: jax.Array  # bool [B, M]
    search: jax.Array  # [B, N + 1, D]; index 0 is the null event "nothing useful"
    search_mask: jax.Array  # bool [B, N + 1]; index 0 is always visible
    event: jax.Array  # [B, N + 1, D]: searches before the encoder; the null event is zeros
    support: jax.Array | None = None  # float32 [B, N + 1]: prior of the evidence, see `Support`


class Encoder(nn.Module):
    """Histories to memory.

    Recency positions carry the order.
    `merged`:   one transformer over null event, searches and rec events; everything sees all.
    `grounded`: the same transformer, but rec events see rec events, and a search sees the rec
                events and itself. What a search says then reaches the scores only through the
                evidence that the reasoning gives it, so the evidence means what it claims.
    `dual`:     one transformer per history, then cross attention each way (ablation).
    """

    settings: ModelSettings

    @nn.compact
    def __call__(
        self,
        rec: jax.Array,
        rec_mask: jax.Array,
        search: jax.Array,
        search_mask: jax.Array,
        order: jax.Array,
        deterministic: bool,
    ) -> Memory:
        """rec [B, M, D] and search [B, N, D] event vectors with masks bool [B, M], [B, N];
        order int32 [B, M + N]: recency rank of rec slots, then of searches, 0 = newest."""
        s = self.settings
        batch, length = rec.shape[0], s.rec_length
        small = nn.initializers.normal(0.02)
        null = self.param("null_event", small, (s.width,))
        kinds = self.param("event_type", small, (2, s.width))
        count = s.places or s.rec_length + s.search_length
        # Pads get the row beyond the real places or the oldest one; they are masked anyway.
        table = nn.Embed(count + 1, s.width, embedding_init=small)
        oldest = count if count == s.rec_length + s.search_length else count - 1
        places = table(jnp.minimum(order, oldest))
        event = jnp.pad(search, ((0, 0), (1, 0), (0, 0)))
        support = None
        if s.support and s.steps:
            rank = order[:, :length]
            support = Support(s.width, name="support")(rec, rec_mask, rank, search)
        rec = rec + kinds[0] + places[:, :length]
        search = search + kinds[1] + places[:, length:]
        # The null slot stays in the memory so that no softmax is ever empty. Without the null
        # event it is visible only to rows that have no search at all.
        visible = (
            jnp.ones((batch, 1), bool) if s.null_event else ~search_mask.any(axis=1, keepdims=True)
        )
        search = jnp.concatenate([jnp.broadcast_to(null, (batch, 1, s.width)), search], axis=1)
        search_mask = jnp.concatenate([visible, search_mask], axis=1)
        drop = Dropout(s.dropout, deterministic=deterministic)
        rec, search = drop(rec), drop(search)
        encode = self._cross if s.encoder == "dual" else self._merge
        rec, search = encode(rec, rec_mask, search, search_mask, deterministic)
        rec = rec * rec_mask[..., None]
        return Memory(rec, rec_mask, search, search_mask, event, support)

    def _merge(
        self,
        rec: jax.Array,
        rec_mask: jax.Array,
        search: jax.Array,
        search_mask: jax.Array,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array]:
        s = self.settings
        x = jnp.concatenate([search, rec], axis=1)
        mask = jnp.concatenate([search_mask, rec_mask], axis=1)
        if s.encoder == "grounded":
            mask = mask[:, None] & _sees(s.search_length + 1, s.rec_length)
        for layer in range(s.layers):
            x = TransformerLayer(s.width, s.heads, s.dropout, name=f"layer_{layer}")(
                x, mask, deterministic
            )
        x = LayerNorm(name="norm")(x)
        return x[:, s.search_length + 1 :], x[:, : s.search_length + 1]

    def _cross(
        self,
        rec: jax.Array,
        rec_mask: jax.Array,
        search: jax.Array,
        search_mask: jax.Array,
        deterministic: bool,
    ) -> tuple[jax.Array, jax.Array]:
        s = self.settings
        for layer in range(s.layers):
            rec = TransformerLayer(s.width, s.heads, s.dropout, name=f"rec_layer_{layer}")(
                rec, rec_mask, deterministic
            )
            search = TransformerLayer(s.width, s.heads, s.dropout, name=f"search_layer_{layer}")(
                search, search_mask, deterministic
            )
        from_search = MultiHeadAttention(s.width, s.heads, name="rec_from_search")
        from_rec = MultiHeadAttention(s.width, s.heads, name="search_from_rec")
        crossed_rec = rec + from_search(rec, search, search_mask, deterministic)[0]
        crossed_search = search + from_rec(search, rec, rec_mask, deterministic)[0]
        return (
            LayerNorm(name="rec_norm")(crossed_rec),
            LayerNorm(name="search_norm")(crossed_search),
        )


def _sees(searches: int, recs: int) -> jax.Array:
    """bool [n, n] over null event, searches and rec events: who sees whom when grounded."""
    is_rec = jnp.arange(searches + recs) >= searches
    # The null event sees itself alone: it has to say the same for everybody.
    is_null = jnp.arange(searches + recs) == 0
    return jnp.eye(searches + recs, dtype=bool) | (is_rec[None, :] & ~is_null[:, None])


class Intent(nn.Module):
    """The recommendation intent r_0 [B, D] ("first identify the intent"; the formula is ours).

    LN(W [mean of rec ; newest rec ; mean of searches and null] + user). With the `grounded` encoder
    the mean of the searches is left out: they come in through the reasoning alone, if there is any.
    """

    settings: ModelSettings

    @nn.compact
    def __call__(self, memory: Memory, order: jax.Array, user: jax.Array | None) -> jax.Array:
        ranks = jnp.where(memory.rec_mask, order[:, : self.settings.rec_length], order.shape[1])
        newest = jax.nn.one_hot(ranks.argmin(axis=1), ranks.shape[1]) * memory.rec_mask
        last = jnp.einsum("bm,bmd->bd", newest, memory.rec)
        parts = [masked_mean(memory.rec, memory.rec_mask), last]
        if self.settings.encoder != "grounded" or self.settings.steps == 0:
            parts.append(masked_mean(memory.search, memory.search_mask))
        state = Dense(self.settings.width)(jnp.concatenate(parts, axis=-1))
        return LayerNorm()(state if user is None else state + user)
