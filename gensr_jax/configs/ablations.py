"""GenSR's ablations by name: `--config=FILE:no_filter`, several joined by "+"."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from common.configs.ablations import apply_ablations

# The released code, switch by switch. A flag after it sets one back: the study of the faults.
PUBLISHED: dict[str, Any] = {
    "text.prompt": "published",
    "model.positions": False,
    "model.semantic_level": "token",
    "model.filter": "bilinear",
    "model.filter_init": "xavier3d",
    "model.projector": "linear",
    "model.soft_tokens": "raw",
    "model.contrastive": "published",
    "model.null_history": False,
    "model.folded": False,
    "model.head": "full",
    "model.score": "probability",
    "cf.table": "layer0",
    "loss.task": "vocab_ce",
    "loss.contrastive_rows": "all",
    "train.fresh_negatives": False,
    "train.negative_sampling": "popularity",
    "train.learning_rate": 1e-4,
    "train.t5_rate_share": 1.0,
    "train.word_rate_share": 1.0,
    "train.decay_tables": True,
    "train.schedule": "constant",  # it decays over 200 epochs of which a run does ten
    "t5.dtype": "float32",
}

ABLATIONS: dict[str, dict[str, Any]] = {
    "published": PUBLISHED,
    # Components.
    "no_cf": {"model.cf_view": False, "loss.contrastive_weight": 0.0},
    "no_semantic": {"model.semantic_view": False, "loss.contrastive_weight": 0.0},
    "no_filter": {"model.filter": "mean"},
    "no_contrastive": {"loss.contrastive_weight": 0.0},
    "no_task_prompt": {"text.prompt": "no_task"},
    # The discriminative twin: the same inputs and encoder, no task prompt, a head for each task.
    "twin": {"text.prompt": "no_task", "model.head": "towers"},
    # Each fault of the release alone put back.
    "fault_prompt": {"text.prompt": "published"},
    "fault_contrastive": {"model.contrastive": "published", "loss.contrastive_rows": "all"},
    "fault_soft_tokens": {"model.soft_tokens": "raw", "model.projector": "linear"},
    "fault_filter": {"model.filter": "bilinear", "model.filter_init": "xavier3d"},
    "fault_cf_table": {"cf.table": "layer0", "model.positions": False},
    "fault_schedule": {
        "train.schedule": "constant", "train.t5_rate_share": 1.0, "train.word_rate_share": 1.0,
    },
    "fault_negatives": {"train.fresh_negatives": False, "train.negative_sampling": "popularity"},
    "fault_head": {
        "model.head": "full", "model.score": "probability", "loss.task": "vocab_ce",
    },
    # Hyper-parameters.
    "group_loss": {"loss.task": "group"},
    "item_level": {"model.semantic_level": "item"},
    "train_cf": {"model.cf_trainable": True},
    **{f"history{n}": {"data.history_length": n} for n in (5, 10, 50)},
    **{f"contrast{n}": {"loss.contrastive_weight": float(n)} for n in ("0.001", "0.1")},
}  # fmt: skip


def ablate(config: ConfigDict, arg: str) -> ConfigDict:
    """`common.configs.ablations.apply_ablations` with the names above."""
    return apply_ablations(config, arg, ABLATIONS)
