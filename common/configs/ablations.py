"""Changes of a configuration by name: `--config=FILE:no_gate`, several joined by "+"."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from common.errors import InputError


def apply_ablations(
    config: ConfigDict, arg: str, known: Mapping[str, Mapping[str, Any]]
) -> ConfigDict:
    """Applies the ablations that `arg` names, joined by "+"; "" changes nothing.

    known: name -> {dotted key: value}
    Changes and returns `config`, a whole configuration.
    Warns on stderr of a name that changes nothing, as that is the same run again. Raises
    InputError for an unknown name, and for two that disagree on a key.
    """
    changes: dict[str, Any] = {}
    for name in filter(None, arg.split("+")):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(known)}"
            hint = hint if known else f"{config.method} has none; leave it out"
            raise InputError(f"--config, argument {name}: no such ablation; {hint}")
        for key, value in known[name].items():
            if changes.get(key, value) != value:
                raise InputError(
                    f"--config, argument {arg}: config.{key} gets two values; leave one name out"
                )
            changes[key] = value
        if all(read_key(config, key) == value for key, value in known[name].items()):
            print(
                f"warning: --config, argument {name}: changes nothing, this config is like that "
                "already",
                file=sys.stderr,
            )
    config.update_from_flattened_dict(changes)
    return config


def read_key(config: ConfigDict, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value
