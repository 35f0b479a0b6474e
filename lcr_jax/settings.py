"""Every setting of LCR. Sizes, weights and forms are those of our reconstruction of arXiv
2508.04152: the abstract has no number, so the source of all is ours unless it is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.settings.fields import setting
from common.settings.groups import (
    DataSettings,
    DrawSettings,
    PlateauSettings,
    RunSettings,
    TrainGroup,
)


@dataclass(frozen=True)
class LengthSettings:
    """How much of a user's past is read."""

    rec_length: int = setting(20, "most recent rec events kept", least=1)
    search_length: int = setting(20, "most recent searches kept", least=1)


@dataclass(frozen=True)
class Data(LengthSettings, DataSettings):
    """Which data, and how much of the past."""

    clicks: int = setting(5, "clicked items kept per search", least=1)
    searches: bool = setting(True, "false = as if nobody had ever searched")


@dataclass(frozen=True)
class NetSettings:
    """Sizes and switches of the model."""

    width: int = setting(64, "numbers in a vector; divisible by heads", least=1)
    heads: int = setting(2, "of every attention", least=1)
    layers: int = setting(1, "of the encoder", least=1)
    dropout: float = setting(0.1, "share of numbers dropped", least=0, below=1)
    encoder: Literal["merged", "grounded", "dual"] = setting(
        "merged",
        "one transformer over both histories; the same, with searches read through the evidence "
        "alone; or one for each history",
    )
    places: int = setting(
        0,
        "rows of the recency table; 0 = rec_length + search_length. A model that is to read longer "
        "histories keeps its own: older events share the oldest row",
        least=0,
    )
    user: bool = setting(False, "an embedding per user")
    categories: bool = setting(True, "category embeddings beside item ids, where there are any")
    scorer: Literal["dot_mlp", "dot"] = setting(
        "dot_mlp", "with an MLP over user and item; or every score is one inner product"
    )
    evidence_mode: Literal["log", "off"] = setting(
        "log", "how evidence steers the read-out of searches"
    )


@dataclass(frozen=True)
class ReasonerSettings:
    """The steps of latent cross reasoning."""

    steps: int = setting(3, "reasoning steps K; 0 = the base without reasoning", least=0)
    gate: bool = setting(True, "a gate decides how much a step changes the state")
    null_event: bool = setting(True, 'a step may find "nothing useful" among the searches')
    support: bool = setting(False, "evidence has a prior: does the rec history know the search?")
    reground: bool = setting(False, "each step reads the rec history again")


@dataclass(frozen=True)
class ModelSettings(LengthSettings, NetSettings, ReasonerSettings):
    """What the modules are made of: settings, and sizes of a dataset.

    `n_*` count real ids; every table has one more row for the padding id 0.
    """

    n_items: int = 0
    n_tokens: int = 0
    n_categories: int = 0  # distinct category ids over all levels; 0 = items are ids only
    n_users: int = 0
    read_step: int = -1  # for studies: the step whose state is scored; -1 = the last


@dataclass(frozen=True)
class LossSettings:
    """Weights and forms of the stage-1 losses."""

    recommendation: Literal["bce", "sampled_softmax", "softmax"] = setting(
        "bce", "loss of the target against negatives, or (softmax) the whole catalogue"
    )
    contrastive_weight: float = setting(
        0.1, "of the alignment of states with the target item", least=0
    )
    contrastive_negatives: int = setting(2048, "targets of other rows in it", least=1)
    temperature: float = setting(0.1, "where the learned one of these losses starts", above=0)
    temperature_growth: float = setting(1.5, "earlier steps are softer by this each", above=0)
    evidence_weight: float = setting(
        0.0, "evidence has to explain the target; 0 = the literal method", least=0
    )
    evidence_negatives: int = setting(256, "targets of other rows it is told from", least=1)
    distractors: float = setting(
        0.0, "share of another row's searches mixed in while training", least=0, most=1
    )
    alignment_weight: float = setting(0.1, "of the alignment of queries with clicks", least=0)
    alignment_temperature: float = setting(0.1, "where its learned one starts", above=0)
    alignment_pairs: int = setting(4, "most recent clicked searches of a row in it", least=1)
    alignment_negatives: int = setting(1024, "random items and queries in it", least=1)


@dataclass(frozen=True)
class Train(DrawSettings, PlateauSettings, TrainGroup):
    """The supervised stage."""


ROLLING = ("reinforce", "likelihood", "noise")  # kinds of second stage that have rollouts


@dataclass(frozen=True)
class SecondSettings:
    """A second stage after the supervised one: reinforcement, or one of the controls that it is
    measured against. Data order, updates and learning rate are the same for every kind."""

    kind: Literal["none", "reinforce", "more", "likelihood", "ranking", "noise"] = setting(
        "none",
        "none; reinforcement; A: the stage-1 loss goes on; B: as LARES; C: a differentiable "
        "ranking loss; D: rollouts without reward",
    )
    start: str = setting(
        "", 'workdir of a finished run to begin with; "" = train the supervised stage here'
    )
    train: Literal["reasoner", "all"] = setting("reasoner", "what is trained; the rest is frozen")
    epochs: int = setting(2, "passes over the training rows", least=1)
    eval_every_epochs: float = setting(0.25, "epochs between two evaluations", above=0)
    learning_rate: float = setting(0.0, "0 = 1e-4 for reasoner, 3e-5 for all", least=0)
    clip_norm: float = setting(1.0, "global norm at which gradients are cut; 0 = off", least=0)
    rollouts: int = setting(8, "per user; the first has no noise", least=2)
    noise: float = setting(
        0.1, "standard deviation, relative to the RMS of the state's mean", above=0
    )
    kl_weight: float = setting(0.1, "of the divergence from the start", least=0)
    anchor_weight: float = setting(1.0, "of the stage-1 loss", least=0)
    dropout: bool = setting(False, "in the stage-1 loss of this stage")
    clip_low: float = setting(0.8, "least ratio that counts", above=0, most=1)
    clip_high: float = setting(1.28, "largest ratio that counts", least=1, source="DAPO")
    reward: Literal["dense_ndcg", "ndcg_at_10", "reciprocal_rank", "log_softmax"] = setting(
        "dense_ndcg", "what a rollout is paid by"
    )
    negatives: int = setting(64, "candidates drawn as train.negative_sampling says", least=1)
    in_batch: int = setting(35, "candidates that are targets of other rows", least=0)
    ranking_loss: Literal["approx_ndcg", "softmax"] = setting(
        "approx_ndcg", "of kind ranking", source="Qin, Liu and Li 2010"
    )
    temperature: float = setting(1.0, "of kinds likelihood, ranking and noise", above=0)


@dataclass(frozen=True)
class Second(SecondSettings):
    """The second stage as its losses see it."""

    anchor_negatives: int = 4  # of the batch's negatives, as many as stage 1 has


@dataclass(frozen=True)
class Settings(RunSettings):
    """Every key of an LCR run."""

    method: Literal["lcr"] = setting("lcr", "name of the method")
    data: Data = Data()
    model: NetSettings = NetSettings()
    reasoner: ReasonerSettings = ReasonerSettings()
    loss: LossSettings = LossSettings()
    train: Train = Train(weight_decay=1e-5, plateau_patience=3)
    second: SecondSettings = SecondSettings()
