"""The platform that programs are made for, where the faster of two equal forms depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import jax

_asked: ContextVar[str | None] = ContextVar("platform", default=None)


def find_platform() -> str:
    """`cpu`, `gpu` or `tpu`: that of `made_for`, else of the devices that JAX runs on.

    Asked while a function is traced: a program keeps the form that it was traced with.
    """
    return _asked.get() or jax.default_backend()


@contextmanager
def made_for(platform: str) -> Iterator[None]:
    """Within it programs are traced for another platform than the one at hand, to be compiled ahead
    or compared. Functions that `jax.jit` has traced before keep their form."""
    token = _asked.set(platform)
    try:
        yield
    finally:
        _asked.reset(token)
