"""The settings that several methods share. A method's own groups are made of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.settings.fields import setting

NEVER = "0 = never"


@dataclass(frozen=True)
class DataSettings:
    """Which data, and which of its events are targets."""

    path: str = setting("", "folder of a dataset, made by launch.prepare", role="free")
    split: str = setting("leave_one_out_joint", "name of a split of the dataset")
    min_history: int = setting(1, "earlier events, of either service, that a target needs", least=0)


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW."""

    learning_rate: float = setting(1e-3, "step size after the warm-up", above=0)
    schedule: Literal["constant", "cosine"] = setting(
        "constant", "how the rate changes; cosine ends at 0 with the last step"
    )
    warmup_steps: int = setting(0, "steps in which the rate rises from 0", least=0)
    weight_decay: float = setting(0.0, "decoupled; of arrays of two or more axes", least=0)
    clip_norm: float = setting(0.0, "global norm at which gradients are cut; 0 = off", least=0)


@dataclass(frozen=True)
class StoppingSettings:
    """When training ends."""

    metric: str = setting(
        "rec/uniform99/NDCG@5", "task/protocol/metric of the validation part that decides"
    )
    patience: int = setting(5, f"evaluations without a gain before the end; {NEVER}", least=0)


@dataclass(frozen=True)
class PlateauSettings:
    """When the learning rate drops."""

    plateau_patience: int = setting(
        0, f"evaluations without a gain before the rate drops; {NEVER}", least=0
    )
    plateau_factor: float = setting(0.1, "what the rate is multiplied by", above=0, most=1)
    plateau_floor: float = setting(1e-6, "rate below which it does not drop", least=0)


@dataclass(frozen=True)
class PaceSettings:
    """How often the trainer evaluates, saves and logs."""

    eval_every_epochs: float = setting(1.0, "epochs between two evaluations", above=0)
    checkpoint_every_steps: int = setting(
        1000, "steps between two saves, beside those of evaluations; 0 = only those", least=0,
        role="free",
    )  # fmt: skip
    log_every_steps: int = setting(
        20, "steps between two lines of metrics.jsonl", least=1, role="free"
    )


@dataclass(frozen=True)
class TrainGroup(OptimizerSettings, StoppingSettings, PaceSettings):
    """What every trained method has in its group `train`."""

    batch_size: int = setting(1024, "rows of a step, over all devices", least=1)
    epochs: int = setting(100, "passes over the training rows at most", least=1)
    negatives: int = setting(4, "items drawn beside each target", least=0)


@dataclass(frozen=True)
class DrawSettings:
    """How negatives are drawn."""

    negative_sampling: Literal["popularity", "uniform"] = setting(
        "popularity", "by how often an item is a target, or each alike"
    )


@dataclass(frozen=True)
class EvalSettings:
    """How a trained model is judged."""

    batch_size: int = setting(512, "rows scored at once", least=1, role="judge")
    filter_seen: Literal["auto", "history", "train", "none"] = setting(
        "auto",
        "items left out of the full ranking: of the strict history, or of train rows",
        role="judge",
    )
    evidence: bool = setting(
        True, "figures of the evidence, on data with planted truth", role="judge"
    )


@dataclass(frozen=True)
class DispatchSettings:
    """How a step is laid out; numbers hang on it in the last digits."""

    accumulate: int = setting(
        1, "parts of a batch, whose gradients are made one after the other", least=1
    )
    steps_per_dispatch: int = setting(1, "steps that one call to the device runs", least=1)


@dataclass(frozen=True)
class RunSettings(DispatchSettings):
    """What every run has beside the groups of its method."""

    method: str = setting("", "name of the method")
    seed: int = setting(0, "of everything that is drawn", least=0, most=2**63 - 1)
    mesh: str = setting(
        "", "devices, as data:8 or data:4,model:2; empty = all on data", role="free"
    )
    resident: Literal["auto", "on", "off"] = setting(
        "auto", "events on the devices, which gather batches themselves"
    )
    data: DataSettings = DataSettings()
    eval: EvalSettings = EvalSettings()
