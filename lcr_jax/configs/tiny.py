"""LCR on the `tiny` synthetic preset: a smoke run that takes every path.

    python -m launch.prepare --source=synthetic --preset=tiny --out=datasets/tiny
    python -m launch.main --config=lcr_jax/configs/tiny.py --workdir=runs/tiny

Time: about half a minute on 2 CPU cores. The numbers mean nothing: 64 users.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from lcr_jax.configs import base
from lcr_jax.configs.ablations import ablate


def get_config(arg: str = "") -> ConfigDict:
    """Small everything, two epochs."""
    config = base.get_config()
    config.data.path = "datasets/tiny"
    config.data.rec_length = 8
    config.data.search_length = 6
    config.data.clicks = 2
    config.model.width = 16
    config.reasoner.steps = 2
    config.loss.alignment_negatives = 32
    config.train.batch_size = 64
    config.train.epochs = 2
    config.train.metric = "rec/full/NDCG@10"
    config.train.checkpoint_every_steps = 5
    config.train.log_every_steps = 1
    config.eval.batch_size = 64
    return ablate(config, arg)
