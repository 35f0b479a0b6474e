"""Every key of a SASRec run with its default, see `baselines_jax.settings`.

Not meant to be run: it has no dataset.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from baselines_jax.settings import Sasrec
from common.configs.ablations import apply_ablations
from common.configs.making import make_config


def get_config(arg: str = "") -> ConfigDict:
    """The defaults."""
    return apply_ablations(make_config(Sasrec()), arg, {})
