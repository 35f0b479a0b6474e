"""Operations of GenSR, counted by hand: matrix products only, two for a multiplication and its sum.

Symbols: L prompt length  D T5 width  E entries of the semantic view
"""

from __future__ import annotations

from gensr_jax.settings import ModelSettings
from gensr_jax.t5 import T5Config

BACKWARD = 2  # a backward pass costs two forward ones


def count_encoder(config: T5Config, length: int) -> float:
    """Operations of the encoder for one prompt. flan-t5-base: 169,869,312 L + 36,864 L^2."""
    inner = config.heads * config.head_width
    per_token = 4 * config.width * inner + 3 * config.width * config.ff_width
    return 2.0 * config.encoder_layers * (length * per_token + 2 * length**2 * inner)


def count_answer(config: T5Config, length: int, folded: bool) -> float:
    """Operations of the one decoder step and the head for one prompt."""
    inner = config.heads * config.head_width
    # Self-attention over itself: v and o. Cross attention: q and o. Then the feed-forward layer.
    layer = 4 * config.width * inner + 3 * config.width * config.ff_width
    if folded:  # keys folded into the query, values into the mean
        layer += 2 * config.width * inner + 2 * length * config.heads * config.width
    else:
        layer += 2 * length * config.width * inner + 2 * length * inner
    head = config.width * (config.vocab_size if config.full_head else 2)
    return 2.0 * (config.decoder_layers * layer + head)


def count_views(settings: ModelSettings) -> float:
    """Operations of both views and of the filters' keys and values, for one list."""
    total = 0.0
    entries = settings.history_length * (
        settings.title_length if settings.semantic_level == "token" else 1
    )
    for on, width, count in (
        (settings.cf_view, settings.cf_width, settings.history_length),
        (settings.semantic_view, settings.t5.width, entries),
    ):
        if on:
            count += settings.null_history
            total += 6 * count * width**2 + 2 * count**2 * width  # attention and feed-forward
            total += 2 * count * width**2 * (settings.filter == "mca")
    return 2.0 * total


def count_forward(settings: ModelSettings, length: int, candidates: int) -> float:
    """Operations of the forward pass for one list of candidates with prompts of `length`."""
    row = count_encoder(settings.t5, length)
    if settings.head == "towers":
        row += 4.0 * settings.t5.width**2
    else:
        row += count_answer(settings.t5, length, settings.folded)
    return count_views(settings) + candidates * row
