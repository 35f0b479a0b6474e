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
    read_step: int = -1  # for studies: the step whose state is scored; -1 = the last
    gate: bool = True
    null_event: bool = True
    support: bool = False  # how the rec history speaks for a search is a prior of its evidence
    reground: bool = False


@dataclass(frozen=True)
class LossSettings:
    """Weights and forms of the stage-1 losses."""

    recommendation: str = "bce"  # or "sampled_softmax", "softmax" over the whole catalogue
    contrastive_weight: float = 0.1
    temperature: float = 0.1
    temperature_growth: float = 1.5  # earlier steps are softer by this factor each
    evidence_weight: float = 0.0
    evidence_negatives: int = 256  # targets of other rows of the batch
    distractors: float = 0.0  # share of another row's searches mixed in while training
    alignment_weight: float = 0.1
    alignment_temperature: float = 0.1
    alignment_pairs: int = 4  # most recent clicked searches of a row that enter the alignment
    alignment_negatives: int = 1024


@dataclass(frozen=True)
class SecondSettings:
    """The second stage: reinforcement, or one of the controls that it is measured against."""

    kind: str = "reinforce"  # or "more", "likelihood", "ranking", "noise": see `lcr_jax.controls`
    train: str = "reasoner"  # everything else frozen; or "all"
    epochs: int = 2
    eval_every_epochs: float = 0.25
    learning_rate: float = 0.0  # 0 = 1e-4 for "reasoner", 3e-5 for "all"
    clip_norm: float = 1.0
    rollouts: int = 8  # G, per user; the first has no noise
    noise: float = 0.1  # c: sigma = c * RMS of the state's mean
    kl_weight: float = 0.1  # beta
    anchor_weight: float = 1.0  # eta, of the stage-1 loss
    anchor_negatives: int = 4  # of the batch's negatives, as many as stage 1 has
    dropout: bool = False  # in the anchor's forward pass
    clip_low: float = 0.8
    clip_high: float = 1.28
    reward: str = "dense_ndcg"  # a name of `lcr_jax.rewards.REWARDS`
    negatives: int = 64  # candidates drawn by popularity
    in_batch: int = 35  # candidates that are targets of other rows
    ranking_loss: str = "approx_ndcg"  # or "softmax"; of kind "ranking"
    temperature: float = 1.0  # of the controls' losses over candidates
