"""Ablations by name: `--config=FILE:no_gate`, or several at once, `--config=FILE:k1+no_gate`."""

from __future__ import annotations

import difflib
import sys
from typing import Any

from ml_collections import ConfigDict

from common.errors import InputError

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
    """Applies the ablations that `arg` names, joined by "+"; "" changes nothing.

    Changes and returns `config`, a whole configuration.
    Warns on stderr of a name that changes nothing, as that is the same run again. Raises
    InputError for an unknown name, and for two that disagree on a key.
    """
    changes: dict[str, Any] = {}
    for name in filter(None, arg.split("+")):
        if name not in ABLATIONS:
            near = difflib.get_close_matches(name, ABLATIONS, 1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(ABLATIONS)}"
            raise InputError(f"--config, argument {name}: no such ablation; {hint}")
        for key, value in ABLATIONS[name].items():
            if changes.get(key, value) != value:
                raise InputError(
                    f"--config, argument {arg}: config.{key} gets two values; leave one name out"
                )
            changes[key] = value
        if all(read(config, key) == value for key, value in ABLATIONS[name].items()):
            print(
                f"warning: --config, argument {name}: changes nothing, this config is like that "
                "already",
                file=sys.stderr,
            )
    config.update_from_flattened_dict(changes)
    return config


def read(config: ConfigDict, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value
