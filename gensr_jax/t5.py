"""T5 v1.1 (and Flan-T5, the same network): encoder, decoder, one-step answer, head.

Shapes: [R] rows  [L] encoded positions  [S] decoded positions  [D] width  [V] vocabulary
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.dropout import Dropout
from gensr_jax.t5_layers import Attention, FeedForward, RMSNorm, relative_bias, relative_buckets


@dataclass(frozen=True)
class T5Config:
    """The sizes of a T5 and how it is computed.

    vocab_size: number of token ids; width, heads, head_width, ff_width: of every layer
    buckets, max_distance: of the relative attention bias
    pad, eos, start: token ids; the decoder begins with `start`
    dtype: of activations and products ("float32" or "bfloat16"); parameters are float32
    remat: layers are computed again for the gradient instead of being kept
    full_head: has the head over the whole vocabulary
    """

    vocab_size: int
    width: int
    heads: int
    head_width: int
    ff_width: int
    encoder_layers: int
    decoder_layers: int
    buckets: int = 32
    max_distance: int = 128
    dropout: float = 0.1
    pad: int = 0
    eos: int = 1
    start: int = 0
    dtype: str = "float32"
    remat: bool = False
    full_head: bool = True

    @property
    def compute_dtype(self) -> jnp.dtype:
        """`dtype` as jax has it."""
        return jnp.dtype(self.dtype)


# Mini is ours, for tests and from-scratch runs; the others are the sizes of T5 v1.1 and Flan-T5.
SIZES = {
    "mini": T5Config(32128, 64, 4, 16, 128, 2, 2),
    "small": T5Config(32128, 512, 6, 64, 1024, 8, 8),
    "base": T5Config(32128, 768, 12, 64, 2048, 12, 12),
    "large": T5Config(32128, 1024, 16, 64, 2816, 24, 24),
}


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
            again = nn.remat(run, prevent_cse=False, policy=keeps)

            def step(layer: Any, x: jax.Array) -> tuple[jax.Array, None]:
                return again(layer, x), None

            unroll = count if count <= UNROLLED else 1
            x, _ = nn.scan(step, length=count, unroll=unroll, **each)(self.layers, x)
        return self.drop(self.final_norm(x), deterministic=deterministic)


class T5(nn.Module):
    """T5 encoder-decoder.

    Parameters: shared [V, D], encoder, decoder, and with `full_head` also head [D, V]. A decoder
    that `answer` initialises has all of its parameters, unused ones too. Dropout is where T5 has
    it: on both stacks' inputs and outputs, on attention weights, inside the feed-forward and on
    every sub-layer's output. Initial values are those of T5's code, save the head's: width ** -0.5
    instead of 1, ours, so that the first losses of a run from scratch are near the uniform one's.
    """

    config: T5Config

    def setup(self) -> None:
        config = self.config
        shape = (config.vocab_size, config.width)
        self.shared = self.param("shared", nn.initializers.normal(1.0), shape)
        self.encoder = Stack(config, decoder=False)
        self.decoder = Stack(config, decoder=True)
        if config.full_head:
            initial = nn.initializers.normal(config.width**-0.5)
            self.lm_head = self.param("head", initial, shape[::-1])

    def embed(self, ids: jax.Array) -> jax.Array:
        """Token embeddings [..., D] of ids int32 [...]."""
        return jnp.take(self.shared, ids, axis=0).astype(self.config.compute_dtype)

    def encode(self, x: jax.Array, mask: jax.Array, deterministic: bool) -> jax.Array:
        """Encodes embeddings [R, L, D]; mask bool [R, L]: the positions that are seen.

        Returns [R, L, D]; what stands at masked positions means nothing.
        """
        return self.encoder(x.astype(self.config.compute_dtype), deterministic, mask)

    def answer(
        self, encoded: jax.Array, mask: jax.Array, deterministic: bool, folded: bool = True
    ) -> jax.Array:
        """The decoder's last state [R, D] after the start token alone.

        encoded [R, L, D], mask bool [R, L]; folded: see `Attention.attend_once`.
        The same as `decode` of one start token. The self-attention over it needs no q, k and bias:
        their gradient is exactly zero.
        """
        start = self.embed(jnp.full(encoded.shape[0], self.config.start))
        return self.decoder.answer(start, encoded, mask, deterministic, folded)

    def decode(
        self, ids: jax.Array, encoded: jax.Array, mask: jax.Array, deterministic: bool
    ) -> jax.Array:
        """The decoder's last states [R, S, D] for ids int32 [R, S]; each sees those before it."""
        return self.decoder(self.embed(ids), deterministic, encoded, mask)

    def head(self, states: jax.Array) -> jax.Array:
        """Scores float32 [..., V] of all tokens after decoder states [..., D]."""
        kernel = self.lm_head.astype(states.dtype)
        return jnp.matmul(states, kernel, preferred_element_type=jnp.float32)

    def __call__(
        self, ids: jax.Array, mask: jax.Array, decoder_ids: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Scores float32 [R, S, V] of the next token after each of decoder_ids [R, S]."""
        encoded = self.encode(self.embed(ids), mask, deterministic)
        return self.head(self.decode(decoder_ids, encoded, mask, deterministic))


@functools.partial(jax.jit, static_argnums=0)
def logits(
    config: T5Config,
    params: Mapping[str, Any],
    input_ids: jax.Array,
    attention_mask: jax.Array,
    decoder_input_ids: jax.Array,
) -> jax.Array:
    """Scores of the next token at every decoder position, without dropout.

    params: as `load_pretrained` returns them; input_ids int32 [R, L]
    attention_mask: bool or 0/1 [R, L], pads may be anywhere; decoder_input_ids: int32 [R, S],
    which begin with `config.start`
    Returns float32 [R, S, V].
    """
    mask = jnp.asarray(attention_mask) != 0
    scores: jax.Array = T5(config).apply({"params": params}, input_ids, mask, decoder_input_ids)
    return scores
