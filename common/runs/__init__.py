"""Runs: trained, opened again, ranked and explained from Python.

from common.runs import prepare, train, open_run
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from common.runs.api import open_run, prepare, train

__all__ = ["open_run", "prepare", "train"]


def __getattr__(name: str) -> Any:
    """Imports the API when it is asked for: a method's package imports this room for its registry,
    and reading a configuration must not start jax."""
    if name in __all__:
        from common.runs import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
