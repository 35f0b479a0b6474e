"""GenSR: two views of the history become soft tokens of a prompt that T5 answers with Yes or No.

Shapes: [B] lists  [C] candidates  [N] joint history, newest first  [d] CF width  [D] T5 width
        [L] prompt length  [T] title tokens  [V] vocabulary
Source: arXiv 2504.06714 with corrections; `gensr_jax/settings.py` lists the switches.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from common.nn.attention import masked_mean
from common.nn.dense import Dense
from common.nn.norm import LayerNorm
from gensr_jax.alignment import MAX_TEMPERATURE, MIN_TEMPERATURE
from gensr_jax.history import join_history
from gensr_jax.settings import ModelSettings
from gensr_jax.soft_filter import SoftFilter
from gensr_jax.t5 import T5
from gensr_jax.twin import Towers
from gensr_jax.views import EPSILON, HistoryView, sum_per_item

Arrays = Mapping[str, jax.Array]
SLOTS = 4  # history CF, history semantic, candidate CF, candidate semantic


class Histories(NamedTuple):
    """Both views of the histories of a batch, encoded once per list. None = the view is off."""

    collaborative: tuple[jax.Array, jax.Array] | None  # [B, E, d] and its mask
    semantic: tuple[jax.Array, jax.Array] | None  # [B, E', D] and its mask


class SoftTokens(NamedTuple):
    """What the prompt gets for one block of candidates."""

    tokens: jax.Array  # [B, C, 4, D], as they stand in the prompt
    raw: jax.Array  # [B, C, 4, D], before their size is matched
    weights: dict[str, jax.Array]  # of the soft filter: float32 [B, C, E]


class GenSR(nn.Module):
    """The model as parts; `gensr_jax/tune.py` and `gensr_jax/scoring.py` put them together.

    `constants` holds `cf_table` float32 [I + 1, d], `title_head` int32 [I + 1, T], `title_full`
    int32 [I + 1, T'], `prompt_tok`, `prompt_slot` and `prompt_mask` [Q + 2, L], `word_rms` float32.
    """

    settings: ModelSettings

    def setup(self) -> None:
        s = self.settings
        width = s.t5.width
        self.t5 = T5(s.t5)
        common = {
            "heads": s.heads,
            "dropout": s.dropout,
            "length": s.history_length,
            "positions": s.positions,
            "null_history": s.null_history,
        }
        if s.cf_view:
            self.cf_view = HistoryView(s.cf_width, **common)
            self.cf_filter = SoftFilter(s.cf_width, s.heads, s.filter, s.filter_init)
            self.projector = Projector(width, s.projector)
            if s.cf_trainable:
                shape = (s.n_items + 1, s.cf_width)
                self.cf_shift = self.param("cf_shift", nn.initializers.zeros, shape)
        if s.semantic_view:
            places = s.title_length if s.semantic_level == "token" else 0
            self.semantic_view = HistoryView(width, **common, token_places=places)
            self.semantic_filter = SoftFilter(width, s.heads, s.filter, s.filter_init)
        if s.cf_view and s.semantic_view:
            self.cf_norm, self.semantic_norm = LayerNorm(EPSILON), LayerNorm(EPSILON)
            if s.contrastive == "normalised":
                start = nn.initializers.constant(jnp.log(s.temperature))
                self.log_temperature = self.param("log_temperature", start, ())
        if s.soft_tokens == "matched":
            self.gain = self.param("gain", nn.initializers.ones, (SLOTS,))
        if s.head == "two":
            start = nn.initializers.normal(width**-0.5)
            self.answers = self.param("answers", start, (width, 2))  # Yes, No
        elif s.head == "towers":
            self.towers = Towers(width)

    def encode_histories(self, batch: Arrays, constants: Arrays, deterministic: bool) -> Histories:
        """Both views of each list's joint history."""
        s = self.settings
        items = join_history(batch, s.history_length)
        collaborative = semantic = None
        if s.cf_view:
            vectors = self._cf_vectors(items, constants)
            collaborative = self.cf_view(vectors, items != 0, deterministic)
        if s.semantic_view:
            titles = constants["title_head"][items]
            words, mask = self.t5.embed(titles), titles != 0
            if s.semantic_level == "item":
                words, mask = masked_mean(words, mask), mask.any(axis=-1)
            elif not s.positions:
                words, mask = _flatten(words), mask.reshape(*mask.shape[:1], -1)
            semantic = self.semantic_view(words, mask, deterministic)
        return Histories(collaborative, semantic)

    def make_tokens(
        self, histories: Histories, candidates: jax.Array, constants: Arrays
    ) -> SoftTokens:
        """The four soft tokens of each candidate, int32 [B, C]."""
        s = self.settings
        rows, width = candidates.shape, s.t5.width
        slots = [jnp.zeros((*rows, width), s.t5.compute_dtype)] * SLOTS
        weights = {}
        if histories.collaborative is not None:
            vectors = self._cf_vectors(candidates, constants)
            pooled, weights["cf"] = self.cf_filter(vectors, *histories.collaborative)
            slots[0], slots[2] = self.projector(pooled), self.projector(vectors)
        if histories.semantic is not None:
            titles = self.mean_titles(candidates, constants)
            slots[1], weights["semantic"] = self.semantic_filter(titles, *histories.semantic)
            slots[3] = titles
        raw = jnp.stack(slots, axis=2)
        if s.soft_tokens == "raw":
            return SoftTokens(raw, raw, weights)
        wide = raw.astype(jnp.float32)
        square = jnp.square(wide).mean(axis=-1, keepdims=True)
        size = self.gain[:, None] * constants["word_rms"]
        tokens = wide * jax.lax.rsqrt(square + 1e-6) * size
        return SoftTokens(tokens.astype(raw.dtype), raw, weights)

    def answer(
        self, batch: Arrays, tokens: jax.Array, constants: Arrays, deterministic: bool
    ) -> jax.Array:
        """Logits of the answers: float32 [B, C, 2] (Yes, No), or [B, C, V] with the full head.

        tokens: [B, C, 4, D]
        """
        return self.read_answer(self.find_state(batch, tokens, constants, deterministic), batch)

    def find_state(
        self, batch: Arrays, tokens: jax.Array, constants: Arrays, deterministic: bool
    ) -> jax.Array:
        """The last state [B, C, D], which the answer is read from.

        It is the decoder's after its one step; of the discriminative twin, which has no decoder,
        the mean of the encoder's output.
        """
        s = self.settings
        rows, candidates, _, width = tokens.shape
        prompt = batch["query"]  # the prompt of row 0 is that of recommendation
        slot = constants["prompt_slot"][prompt]
        place = slot[..., None] == jnp.arange(SLOTS)
        shown = constants["prompt_mask"][prompt] & ~(place & ~self._shown_slots()).any(axis=-1)
        text = self.t5.embed(constants["prompt_tok"][prompt])
        text = jnp.where((slot < 0)[..., None], text, 0)
        soft = jnp.einsum("bls,bcsd->bcld", place.astype(tokens.dtype), tokens)
        x = (text[:, None] + soft).reshape(rows * candidates, -1, width)
        mask = jnp.repeat(shown, candidates, axis=0)
        encoded = self.t5.encode(x, mask, deterministic)
        if s.head == "towers":
            state = masked_mean(encoded, mask)
        else:
            state = self.t5.answer(encoded, mask, deterministic, folded=s.folded)
        return state.reshape(rows, candidates, -1)

    def read_answer(self, state: jax.Array, batch: Arrays) -> jax.Array:
        """The logits of `answer` out of a state [B, C, D]."""
        if self.settings.head == "two":
            return state.astype(jnp.float32) @ self.answers
        if self.settings.head == "towers":
            return self.towers(state, batch["task"])
        return self.t5.head(state)

    def mean_titles(self, items: jax.Array, constants: Arrays) -> jax.Array:
        """Mean token embedding of each item's title [..., D]; zeros without a title."""
        titles = constants["title_full"]
        if len(titles) <= items.size:  # fewer items than asked for: once for each
            return masked_mean(self.t5.embed(titles), titles != 0)[items]
        tokens = titles[items]
        return masked_mean(self.t5.embed(tokens), tokens != 0)

    def normed_views(self, raw: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The pooled views [..., D] of `SoftTokens.raw` as the contrast compares them, float32."""
        collaborative = raw[..., 0, :].astype(jnp.float32)
        semantic = raw[..., 1, :].astype(jnp.float32)
        return self.cf_norm(collaborative), self.semantic_norm(semantic)

    def temperature(self) -> jax.Array:
        """Of the contrast, float32 []."""
        return jnp.clip(jnp.exp(self.log_temperature), MIN_TEMPERATURE, MAX_TEMPERATURE)

    def weights_per_item(self, weights: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """Soft filter weights [B, C, N + 1] per history item; index 0 = no history."""
        s = self.settings
        return {
            name: sum_per_item(entry, s.history_length, s.null_history)
            for name, entry in weights.items()
        }

    def _cf_vectors(self, items: jax.Array, constants: Arrays) -> jax.Array:
        vectors = constants["cf_table"][items]
        if self.settings.cf_trainable:
            vectors = vectors + self.cf_shift[items]
        return vectors.astype(self.settings.t5.compute_dtype)

    def _shown_slots(self) -> jax.Array:
        s = self.settings
        return jnp.array([s.cf_view, s.semantic_view, s.cf_view, s.semantic_view])


class Projector(nn.Module):
    """CF vectors [..., d] -> soft tokens [..., D]: two layers with GELU, or one linear layer."""

    width: int
    kind: str = "mlp"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.kind == "mlp":
            x = nn.gelu(Dense(self.width, name="inner")(x))
        return Dense(self.width, name="outer")(x)


def _flatten(words: jax.Array) -> jax.Array:
    """[B, N, T, D] -> [B, N * T, D]: one bag of tokens."""
    return words.reshape(words.shape[0], -1, words.shape[-1])
