"""The sizes of a T5, and those that have names."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp


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
