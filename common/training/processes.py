"""A run of many processes: who writes, and where all wait for each other."""

from __future__ import annotations

import sys

import jax

from common.printable import printable


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return jax.process_index() == 0


def meet(place: str) -> None:
    """Returns when all processes have come to the same place; at once where there is one."""
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils  # slow to import, rarely needed

        multihost_utils.sync_global_devices(place)


def tell(line: str) -> None:
    """Prints a line on stderr once, not once per process."""
    if is_first():
        print(printable(line), file=sys.stderr, flush=True)
