"""What can be set of LCR, as frozen values. Defaults are those of our reconstruction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelSettings:
    """Sizes and switches of the model.

    `n_*` count real ids; every table has one more row for the padding id 0.
    """

    n_items: int
    n_tokens: int
    n_categories: int  # distinct category ids over all levels; 0 = items are ids only
    n_users: int
    rec_length: int
    search_length: int
    # Rows of the recency table; 0 = rec_length + search_length. A trained model that is to read
    # longer histories keeps its own: older events share the oldest row.
    places: int = 0
    width: int = 64
    heads: int = 2
    layers: int = 1
    dropout: float = 0.1
    encoder: str = "merged"  # or "dual"
    user: bool = False
    scorer: str = "dot_mlp"  # or "dot": every score is one inner product
    evidence_mode: str = "log"  # how evidence steers the read-out of searches; or "off"
    steps: int = 3  # reasoning steps K; 0 = the base without reasoning
    gate: bool = True
    null_event: bool = True
    reground: bool = False


@dataclass(frozen=True)
class LossSettings:
    """Weights and forms of the stage-1 losses."""

    recommendation: str = "bce"  # or "sampled_softmax", "softmax" over the whole catalogue
    contrastive_weight: float = 0.1
    temperature: float = 0.1
    temperature_growth: float = 1.5  # earlier steps are softer by this factor each
    alignment_weight: float = 0.1
    alignment_temperature: float = 0.1
    alignment_pairs: int = 4  # most recent clicked searches of a row that enter the alignment
    alignment_negatives: int = 1024
