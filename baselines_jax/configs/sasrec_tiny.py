"""SASRec on the `tiny` synthetic preset: a smoke run.

    python -m launch.prepare --source=synthetic --preset=tiny --out=datasets/tiny
    python -m launch.main --config=baselines_jax/configs/sasrec_tiny.py --workdir=runs/sasrec_tiny

The numbers mean nothing: 64 users.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from baselines_jax.configs import base_sasrec


def get_config(arg: str = "") -> ConfigDict:
    """Small everything, two epochs."""
    config = base_sasrec.get_config(arg)
    config.data.path = "datasets/tiny"
    config.data.rec_length = 8
    config.model.width = 16
    config.train.batch_size = 8
    config.train.epochs = 2
    config.train.checkpoint_every_steps = 5
    config.train.log_every_steps = 1
    config.eval.batch_size = 64
    return config
