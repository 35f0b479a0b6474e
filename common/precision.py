"""How exact products are where something is ranked, explained or judged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax

PRECISION = "highest"  # as JAX names it


@contextmanager
def exact_products() -> Iterator[None]:
    """Inside the block, or in a function that it decorates, float32 is multiplied as float32.

    Without it a GPU rounds the factors to tf32 and a TPU to bfloat16, which parts scores that are
    equal and joins others: ranks would depend on the device. It holds for what is traced inside.
    """
    with jax.default_matmul_precision(PRECISION):
        yield
