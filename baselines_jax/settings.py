"""Every setting of the baselines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.settings.fields import setting
from common.settings.groups import (
    DataSettings,
    DrawSettings,
    EvalSettings,
    PlateauSettings,
    RunSettings,
    TrainGroup,
)

KANG = "Kang and McAuley 2018"


@dataclass(frozen=True)
class SequenceData(DataSettings):
    """Which data, and how much of the past."""

    rec_length: int = setting(50, "most recent events kept", least=1, source=KANG)


@dataclass(frozen=True)
class SasrecNet:
    """Sizes of the transformer."""

    width: int = setting(64, "numbers in a vector; divisible by heads", least=1)
    heads: int = setting(2, "of every attention", least=1)
    layers: int = setting(2, "of the transformer", least=1, source=KANG)
    dropout: float = setting(0.2, "share of numbers dropped", least=0, below=1, source=KANG)


@dataclass(frozen=True)
class SasrecLoss:
    """What is trained for."""

    recommendation: Literal["softmax", "sampled_softmax", "bce"] = setting(
        "softmax", "over the whole catalogue, or against negatives; bce is the paper's"
    )


@dataclass(frozen=True)
class SasrecTrain(DrawSettings, PlateauSettings, TrainGroup):
    """Training on packed rows."""

    batch_size: int = setting(
        32, "packed rows of a step, rec_length events each, with many targets", least=1
    )
    negatives: int = setting(4, "per target; the softmax needs none", least=0)


@dataclass(frozen=True)
class Sasrec(RunSettings):
    """Every key of a SASRec run: SASRec's own sizes, with the exact softmax."""

    method: Literal["sasrec"] = setting("sasrec", "name of the method")
    data: SequenceData = SequenceData()
    model: SasrecNet = SasrecNet()
    loss: SasrecLoss = SasrecLoss()
    train: SasrecTrain = SasrecTrain(clip_norm=5.0, metric="rec/full/NDCG@10")
    eval: EvalSettings = EvalSettings(evidence=False)


@dataclass(frozen=True)
class KnnSettings:
    """Which items count as similar, and how much."""

    neighbours: int = setting(200, "most similar items kept per item", least=1)
    window: int = setting(3, "the user's most recent rec events that count", least=1)
    decay: float = setting(1.0, "weight of an event, per newer one", above=0, most=1)


@dataclass(frozen=True)
class ItemKnn(RunSettings):
    """Every key of an item-kNN run: cosine of the buyers, over the last three events."""

    method: Literal["item_knn"] = setting("item_knn", "name of the method")
    knn: KnnSettings = KnnSettings()
    eval: EvalSettings = EvalSettings(evidence=False)
