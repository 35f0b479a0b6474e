"""SASRec: a causal transformer over the items that a user took, trained at every position.

Source: Kang and McAuley 2018 (BCE with sampled negatives); full softmax as in later work. Ours:
recency comes in as a learned bias of the attention for each distance back from the reading state,
so a state is the same whether its sequence goes on after it or not.

Shapes: [B] rows  [L] slots of a row  [G] targets  [C] candidates  [n] items  [D] width  [H] heads
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from baselines_jax.settings import SasrecNet
from common.data.view import candidate_items
from common.nn import losses
from common.nn.attention import TransformerLayer

Arrays = Mapping[str, jax.Array]


@dataclass(frozen=True)
class Sizes(SasrecNet):
    """Sizes of the model."""

    n_items: int = 0
    length: int = 0  # the longest history that is read


class SASRec(nn.Module):
    """Items to states, and both to scores: u . e_i."""

    settings: Sizes

    def setup(self) -> None:
        s = self.settings
        self.item = nn.Embed(s.n_items + 1, s.width, embedding_init=nn.initializers.normal(0.02))
        self.start = self.param("start", nn.initializers.normal(0.02), (s.width,))
        # Row d: how strongly each head turns to what happened d events before the newest one.
        self.recency = self.param("recency", nn.initializers.zeros, (s.length, s.heads))
        self.layers = [TransformerLayer(s.width, s.heads, s.dropout) for _ in range(s.layers)]
        self.input_norm, self.norm = nn.LayerNorm(), nn.LayerNorm()
        self.drop = nn.Dropout(s.dropout)

    def states(self, items: jax.Array, segment: jax.Array, deterministic: bool) -> jax.Array:
        """The state [B, L, D] after each event, which has read that event and the older ones.

        items:   int32 [B, L], oldest first within a segment, the slots of a segment side by side
        segment: integer [B, L]; events see events of their own segment only; 0 = padding
        """
        place = jnp.arange(items.shape[1])
        back = place[:, None] - place[None, :]
        sees = (back >= 0) & (segment[:, :, None] == segment[:, None, :])
        bias = self.recency[jnp.clip(back, 0, self.settings.length - 1)].transpose(2, 0, 1)
        x = self.drop(self.input_norm(self.item(items)), deterministic=deterministic)
        for layer in self.layers:
            x = layer(x, sees & (segment > 0)[:, None, :], deterministic, bias)
        return self.norm(x)

    def users(self, batch: Arrays) -> jax.Array:
        """The state [B, D] that predicts each row of an evaluation batch."""
        mask = batch["rec_mask"] != 0
        states = self.states(batch["rec_item"], batch["rec_mask"], True)
        newest = mask.shape[1] - 1 - jnp.argmax(mask[:, ::-1], axis=1)
        last = jnp.take_along_axis(states, newest[:, None, None], axis=1)[:, 0]
        return jnp.where(mask.any(axis=1)[:, None], last, self.start)

    def readers(self, batch: Arrays, deterministic: bool) -> jax.Array:
        """The state [G, D] that predicts each target of a packed training batch."""
        states = self.states(batch["rec_item"], batch["segment"], deterministic)
        states = states.reshape(-1, states.shape[-1])
        read = states[jnp.maximum(batch["reader"] - 1, 0)]
        return jnp.where((batch["reader"] > 0)[:, None], read, self.start)


def packed_loss(
    module: SASRec,
    recommendation: str,
    params: Any,
    constants: Arrays,
    batch: Arrays,
    key: jax.Array,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The loss over all targets of a packed batch (`common.data.sequences`); `key` drives dropout.

    recommendation: as in `baselines_jax.settings.SasrecLoss`
    constants: `log_share` float32 [I + 1], of the negatives' draws
    """

    def run(m: SASRec) -> jax.Array:
        users = m.readers(batch, deterministic=False)
        if recommendation == "softmax":
            table = m.item.embedding
            return losses.fused_softmax(users, table, batch["target"], batch["valid"])
        candidates = candidate_items(batch)
        scores = jnp.einsum("gd,gcd->gc", users, m.item(candidates))
        if recommendation == "bce":
            return losses.binary_cross_entropy(scores, batch["valid"])
        return losses.sampled_softmax(scores, constants["log_share"][candidates], batch["valid"])

    return module.apply({"params": params}, rngs={"dropout": key}, method=run), {}


def score_candidates(module: SASRec, params: Any, constants: Any, batch: Arrays) -> jax.Array:
    """float32 [B, C]: scores of each row's candidates, -inf for padding."""
    del constants
    candidates = candidate_items(batch)

    def run(m: SASRec) -> jax.Array:
        return jnp.einsum("bd,bcd->bc", m.users(batch), m.item(candidates))

    scores = module.apply({"params": params}, method=run)
    return jnp.where(candidates != 0, scores, -jnp.inf)


def score_catalogue(
    module: SASRec, params: Any, constants: Any, batch: Arrays, items: jax.Array
) -> jax.Array:
    """float32 [B, n]: scores of the same items for every row."""
    del constants
    return module.apply({"params": params}, method=lambda m: m.users(batch) @ m.item(items).T)
