"""What a GenSR model is made of, as frozen values.

Symbols: [B] lists  [C] candidates  [N] joint history  [d] width of the CF view  [D] width of T5
"""

from __future__ import annotations

from dataclasses import dataclass

from gensr_jax.t5 import T5Config


@dataclass(frozen=True)
class ModelSettings:
    """Sizes and switches. The first choice is the corrected form, the last the released one.

    Every switch may be set alone, which is what the ablations do.
    """

    t5: T5Config
    n_items: int
    history_length: int = 20  # N
    title_length: int = 10  # tokens of a history item in the semantic view
    cf_width: int = 64  # d
    heads: int = 2  # of both views and of the soft filter
    dropout: float = 0.1  # of the views; T5 has its own
    yes: int = 0  # token ids of the answers
    no: int = 0
    cf_trainable: bool = False  # a trained correction is added to the CF table
    positions: bool = True  # recency in both views
    semantic_level: str = "token"  # or "item": the mean of an item's tokens is one entry
    filter: str = "mca"  # or "bilinear", "mean" (ablation: a masked mean, no candidate)
    filter_init: str = "xavier"  # or "xavier3d": with the fan of a [1, d, d] array
    projector: str = "mlp"  # or "linear"
    soft_tokens: str = "matched"  # RMS of the word embeddings, learned gain; or "raw"
    contrastive: str = "normalised"  # LayerNorm, L2, learned temperature; or "published"
    temperature: float = 0.07
    null_history: bool = True  # a learned "no history" entry, always there
    folded: bool = True  # the exact one-query form of the decoder's cross attention
    # Rows of the answers alone; "full": the vocabulary; "towers": no decoder, a head for each task
    head: str = "two"
    score: str = "difference"  # of the answers' logits; or "probability" of Yes in the vocabulary
    score_rows: int = 0  # (list, candidate) rows that scoring holds at once; 0 = `fit_rows`
    cf_view: bool = True  # ablation: False leaves slots 0 and 2 empty
    semantic_view: bool = True  # ablation: False leaves slots 1 and 3 empty


@dataclass(frozen=True)
class LossSettings:
    """The loss of the tune stage."""

    task: str = "bce_z"  # or "group", "vocab_ce"
    group_bce_weight: float = 1.0
    contrastive_weight: float = 0.01  # lambda of the released launch script
    contrastive_rows: str = "positives"  # or "all"
