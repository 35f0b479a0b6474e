"""T5's encoder and decoder: a layer of each, and the stack of them as one loop.

Shapes: [R] rows  [L] encoded positions  [S] decoded positions  [D] width  [H] heads
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dropout import Dropout
from gensr_jax.t5_config import T5Config
from gensr_jax.t5_layers import Attention, FeedForward, RMSNorm, relative_bias, relative_buckets


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward, each behind a norm and added to its input."""

    config: T5Config

    def setup(self) -> None:
        self.attention, self.attention_norm = _attention(self.config), RMSNorm(self.config.width)
        self.feed, self.feed_norm = _feed_forward(self.config), RMSNorm(self.config.width)
        self.drop = Dropout(self.config.dropout)

    def __call__(
        self, x: jax.Array, mask: jax.Array, bias: jax.Array, deterministic: bool
    ) -> jax.Array:
        """x [R, L, D], mask bool [R, L], bias [H, L, L]; returns [R, L, D]."""
        normed = self.attention_norm(x)
        mixed = self.attention(normed, normed, mask[:, None], bias, deterministic)
        x = x + self.drop(mixed, deterministic=deterministic)
        fed = self.feed(self.feed_norm(x), deterministic)
        return x + self.drop(fed, deterministic=deterministic)


class DecoderLayer(nn.Module):
    """Self-attention, attention to the encoder's output, feed-forward."""

    config: T5Config

    def setup(self) -> None:
        self.attention, self.attention_norm = _attention(self.config), RMSNorm(self.config.width)
        self.cross, self.cross_norm = _attention(self.config), RMSNorm(self.config.width)
        self.feed, self.feed_norm = _feed_forward(self.config), RMSNorm(self.config.width)
        self.drop = Dropout(self.config.dropout)

    def __call__(
        self,
        x: jax.Array,
        encoded: jax.Array,
        mask: jax.Array,
        bias: jax.Array,
        deterministic: bool,
    ) -> jax.Array:
        """x [R, S, D], encoded [R, L, D], mask bool [R, L], bias [H, S, S]; returns [R, S, D]."""
        past = jnp.tril(jnp.ones((1, x.shape[1], x.shape[1]), bool))
        normed = self.attention_norm(x)
        mixed = self.attention(normed, normed, past, bias, deterministic)
        x = x + self.drop(mixed, deterministic=deterministic)
        seen = self.cross(self.cross_norm(x), encoded, mask[:, None], None, deterministic)
        x = x + self.drop(seen, deterministic=deterministic)
        fed = self.feed(self.feed_norm(x), deterministic)
        return x + self.drop(fed, deterministic=deterministic)

    def answer(
        self,
        x: jax.Array,
        encoded: jax.Array,
        mask: jax.Array,
        deterministic: bool,
        folded: bool,
    ) -> jax.Array:
        """`__call__` for a single position x [R, D]; returns [R, D]."""
        mixed = self.attention.attend_to_itself(self.attention_norm(x), deterministic)
        x = x + self.drop(mixed, deterministic=deterministic)
        normed = self.cross_norm(x)
        if folded:
            seen = self.cross.attend_once(normed, encoded, mask, deterministic)
        else:
            seen = self.cross(normed[:, None], encoded, mask[:, None], None, deterministic)[:, 0]
        x = x + self.drop(seen, deterministic=deterministic)
        fed = self.feed(self.feed_norm(x), deterministic)
        return x + self.drop(fed, deterministic=deterministic)


def _attention(config: T5Config) -> Attention:
    return Attention(config.width, config.heads, config.head_width, config.dropout)


def _feed_forward(config: T5Config) -> FeedForward:
    return FeedForward(config.width, config.ff_width, config.dropout)


# So many layers are compiled one by one: on 2 CPU cores the gradient of `mini` took 1.2 times as
# long in a loop of its two.
UNROLLED = 2


def _is_kept(primitive: Any, *_: Any, **__: Any) -> bool:
    """Whether a layer's gradient keeps what an operation made: products and dropout's draws.

    The rest goes number by number and is computed again. A loop would write all of it to memory:
    on 2 CPU cores the gradient of 6 layers of base's size took 1.07 to 1.2 times as long so, in
    twice the memory.
    """
    return primitive.name in ("dot_general", "lt")


class Stack(nn.Module):
    """The layers of the encoder or of the decoder, their relative bias and their final norm.

    Each parameter of `layers` holds those of all layers, [layers, ...]: a layer is traced and
    compiled once, however many there are.
    """

    config: T5Config
    decoder: bool

    def setup(self) -> None:
        config = self.config
        self.layers = DecoderLayer(config) if self.decoder else EncoderLayer(config)
        self.final_norm = RMSNorm(config.width)
        self.relative_bias = self.param(
            "relative_bias",
            nn.initializers.normal(config.width**-0.5),
            (config.buckets, config.heads),
        )
        self.drop = Dropout(config.dropout)

    def __call__(self, x: jax.Array, deterministic: bool, *context: jax.Array) -> jax.Array:
        """x [R, S, D] through the layers, which get `context` and the bias; returns [R, S, D]."""
        length, config = x.shape[1], self.config
        buckets = relative_buckets(
            length, length, not self.decoder, config.buckets, config.max_distance
        )
        bias = relative_bias(self.relative_bias, buckets)

        def run(layer: nn.Module, x: jax.Array) -> jax.Array:
            return layer(x, *context, bias, deterministic)

        return self._through_layers(run, x, deterministic, None if config.remat else _is_kept)

    def answer(
        self,
        x: jax.Array,
        encoded: jax.Array,
        mask: jax.Array,
        deterministic: bool,
        folded: bool,
    ) -> jax.Array:
        """`__call__` of the decoder for a single position [R, D]; returns [R, D]."""

        # Its products are small, and never computed again.
        def run(layer: DecoderLayer, x: jax.Array) -> jax.Array:
            return layer.answer(x, encoded, mask, deterministic, folded)

        return self._through_layers(run, x, deterministic, _is_kept)

    def _through_layers(
        self,
        run: Callable[[Any, jax.Array], jax.Array],
        x: jax.Array,
        deterministic: bool,
        keeps: Callable[..., bool] | None,
    ) -> jax.Array:
        """x through dropout, run(layer, x) of one layer after the other, norm and dropout.

        keeps: what a layer keeps for the gradient, as `_is_kept`; None = nothing but its input
        """
        config = self.config
        count = config.decoder_layers if self.decoder else config.encoder_layers
        x = self.drop(x, deterministic=deterministic)
        each: dict[str, Any] = {
            "variable_axes": {"params": 0},
            "split_rngs": {"params": True, "dropout": True},
        }
        if self.is_initializing():
            # Side by side, from the same x: a draw within a loop could not be taken out of it.
            x = nn.vmap(run, in_axes=None, axis_size=count, **each)(self.layers, x)[0]
        else:
            unroll = count if count <= UNROLLED else 1
            again = run if keeps and unroll > 1 else nn.remat(run, prevent_cse=False, policy=keeps)

            def step(layer: Any, x: jax.Array) -> tuple[jax.Array, None]:
                return again(layer, x), None

            x, _ = nn.scan(step, length=count, unroll=unroll, **each)(self.layers, x)
        return self.drop(self.final_norm(x), deterministic=deterministic)
