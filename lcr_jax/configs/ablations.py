"""Ablations by name: `--config=FILE:no_gate`, or several at once, `--config=FILE:k1+no_gate`."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from common.configs.ablations import apply_ablations

# What each changes.
ABLATIONS: dict[str, dict[str, Any]] = {
    "no_reasoning": {"reasoner.steps": 0},
    **{f"k{steps}": {"reasoner.steps": steps} for steps in (1, 2, 3, 4, 6)},
    "no_contrastive": {"loss.contrastive_weight": 0.0},
    "no_rl": {"second.kind": "none", "second.start": ""},
    # No search is read, so there is neither a pair to align nor a weight to judge.
    "no_search": {
        "data.searches": False,
        "loss.alignment_weight": 0.0,
        "loss.evidence_weight": 0.0,
        "eval.evidence": False,
    },
    "no_gate": {"reasoner.gate": False},
    "no_null_event": {"reasoner.null_event": False},
    "dual_encoder": {"model.encoder": "dual"},
    "grounded": {"model.encoder": "grounded"},
    "no_evidence_loss": {"loss.evidence_weight": 0.0},
    "no_support": {"reasoner.support": False},
}


def ablate(config: ConfigDict, arg: str) -> ConfigDict:
    """`common.configs.ablations.apply_ablations` with the names above."""
    return apply_ablations(config, arg, ABLATIONS)
