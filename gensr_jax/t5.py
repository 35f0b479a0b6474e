"""T5 v1.1 (and Flan-T5, the same network): encoder, decoder, one-step answer, head.

Shapes: [R] rows  [L] encoded positions  [S] decoded positions  [D] width  [V] vocabulary
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from gensr_jax.t5_config import SIZES, T5Config
from gensr_jax.t5_stack import Stack

__all__ = ["SIZES", "T5", "T5Config", "logits"]


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
