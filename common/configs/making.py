"""A tree of settings as the ConfigDict of a config file."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from common.settings.reading import as_values


def make_config(tree: Any) -> ConfigDict:
    """Every key of a tree with its value. Keys cannot be added, nor take another kind of value."""
    config = ConfigDict(as_values(tree))
    config.lock()
    return config
