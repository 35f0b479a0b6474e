"""Every key of a GenSR run with its default, see `gensr_jax.settings`. Other configs change a few.

Not meant to be run: it has no dataset.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from common.configs.making import make_config
from gensr_jax.configs.ablations import ablate
from gensr_jax.settings import Settings


def get_config(arg: str = "") -> ConfigDict:
    """The defaults: the corrected model; `:published` turns every switch back."""
    return ablate(make_config(Settings()), arg)
