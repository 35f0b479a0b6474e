"""Every key of an LCR run with its default, see `lcr_jax.settings`. Other configs change a few.

Not meant to be run: it has no dataset.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from common.configs.making import make_config
from lcr_jax.configs.ablations import ablate
from lcr_jax.settings import Settings


def get_config(arg: str = "") -> ConfigDict:
    """The defaults."""
    return ablate(make_config(Settings()), arg)
