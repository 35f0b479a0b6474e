"""Configuration at the edge: reading config files and overrides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ml_collections import ConfigDict

from common.errors import InputError
from common.runs.config_file import load_config_file
from common.runs.methods import find_method, suggest_key
from common.settings.fields import list_settings
from common.settings.reading import parse_value, refuse_group


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
        config = load_config_file(self.file or "") if config is None else config
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


def override(config: ConfigDict, key: str, text: str) -> None:
    """Sets one dotted key from text. Raises InputError for a key that there is not, and for a
    value that is not of its kind or out of its bounds."""
    known = list_settings(find_method(config.get("method")).settings)
    refuse_group(key, known)
    if key not in known:
        raise InputError(f"config.{key}: no such key; {suggest_key(key, known)}")
    if key == "method":
        find_method(text)  # names the nearest one
    *groups, name = key.split(".")
    group = config
    for part in groups:
        if part not in group:
            raise InputError(f"config.{part}: missing in the config file; add the group")
        group = group[part]
    with group.unlocked():
        group[name] = parse_value(known[key], text)
