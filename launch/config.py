"""Configuration at the edge: reading config files and overrides."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from common.errors import InputError
from launch.config_file import load_config_file

# Keys of every run, whatever its method: see `common.training.mesh.read_mesh`,
# `common.training.settings.TrainSettings` and `common.training.resident.choose_columns`.
MACHINE = {"mesh": "", "accumulate": 1, "steps_per_dispatch": 1, "resident": "auto"}
# Keys that do not change a run's numbers: a run may go on with other values.
FREE_KEYS = (
    "mesh",
    "data.path",
    "eval.score_rows",
    "train.log_every_steps",
    "train.checkpoint_every_steps",
)
# Paths whose content a checkpoint knows (`Task.identities`): it may move, but not come or go.
CONTENT_KEYS = ("backbone",)


def load_config(argument: str) -> ConfigDict:
    """Reads `FILE[:arg]`: calls the file's `get_config(arg)`.

    Raises InputError as `launch.config_file.load_config_file`.
    """
    config = load_config_file(argument)
    for key, value in MACHINE.items():
        if key not in config:
            config[key] = value
    return config


class ConfigWords(NamedTuple):
    """What a command line says about the configuration."""

    file: str | None  # FILE[:arg] of --config
    overrides: list[tuple[str, str]]  # key and text of each --config.KEY=VALUE
    rest: list[str]  # the other words

    def make(self, config: ConfigDict | None = None) -> ConfigDict:
        """The configuration with the overrides applied. config: takes the file's place.

        Raises InputError for a missing file, a key that does not exist (with the nearest one) or a
        value of the wrong type.
        """
        if config is None and not self.file:
            example = "--config=lcr_jax/configs/demo.py"
            raise InputError(f"--config: missing; give a file, such as {example}")
        config = load_config(self.file or "") if config is None else config
        for key, value in self.overrides:
            override(config, key, value)
        return config


def split_config(argv: Sequence[str]) -> ConfigWords:
    """Takes `--config=FILE[:arg]` and `--config.KEY=VALUE` out of a command line."""
    file, overrides, rest = None, [], []
    items = iter(argv)
    for item in items:
        flag, has_value, value = item.partition("=")
        flag = "-" + flag.lstrip("-") if flag.startswith("-") else flag
        if flag != "-config" and not flag.startswith("-config."):
            rest.append(item)
            continue
        if not has_value:
            value = next(items, "")
        if flag == "-config":
            file = value
        else:
            overrides.append((flag.removeprefix("-config."), value))
    return ConfigWords(file, overrides, rest)


def take_config(argv: Sequence[str]) -> tuple[ConfigDict, list[str]]:
    """The configuration of a command line, and the rest of its words. Raises as `ConfigWords`."""
    words = split_config(argv)
    return words.make(), words.rest


def override(config: ConfigDict, key: str, value: str) -> None:
    """Sets one dotted key from text, keeping the type of its default. Raises InputError."""
    known = flatten(config.to_dict())
    if key not in known:
        near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
        if not near:  # a right name in a wrong group
            near = [k for k in known if k.split(".")[-1] == key.split(".")[-1]]
        hint = f"did you mean config.{near[0]}?" if near else "see the config file for its keys"
        raise InputError(f"config.{key}: no such key; {hint}")
    group, name = config, key
    while "." in name:
        head, _, name = name.partition(".")
        group = group[head]
    group[name] = _parse(key, known[key], value)


def _parse(key: str, default: Any, text: str) -> Any:
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind in (tuple, list):
            items = [item for item in text.strip("()[]").split(",") if item]
            return kind(type(default[0])(i) if default else i for i in items)
        return kind(text)
    except (KeyError, ValueError):
        raise InputError(
            f"config.{key}={text}: not a {kind.__name__}; the default is {default!r}"
        ) from None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of a nested mapping."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def is_evaluation_key(key: str) -> bool:
    """Whether a key says how a trained model is judged: it is free at --mode=evaluate."""
    return key == "retriever" or key.startswith("eval.")


def describe_evaluation(config: ConfigDict) -> dict[str, Any]:
    """The evaluation keys that may change numbers, with their values, for results.json."""
    settings = flatten(as_json(config))
    return {
        key: value
        for key, value in settings.items()
        if is_evaluation_key(key) and key not in FREE_KEYS
    }


def as_json(config: ConfigDict) -> Any:
    """The values as a JSON file gives them back."""
    return json.loads(json.dumps(config.to_dict()))  # tuples become lists, as in the file
