"""The smallest GenSR run that goes through everything: a minute on a laptop.

python -m launch.prepare --source=synthetic --preset=tiny --out=datasets/tiny
python -m launch.main --config=gensr_jax/configs/tiny.py --workdir=runs/gensr_tiny
"""

from __future__ import annotations

from ml_collections import ConfigDict

from gensr_jax.configs import base
from gensr_jax.configs.ablations import ablate


def get_config(arg: str = "") -> ConfigDict:
    """For trying and for tests; its numbers mean nothing."""
    config = base.get_config()
    config.data.path = "datasets/tiny"
    config.data.history_length = 5
    config.text.vocabulary = 512
    config.text.title_head = 4
    config.text.title_full = 8
    config.text.query_length = 8
    config.cf.width = 16
    config.cf.batch_size = 256
    config.cf.epochs = 2
    config.cf.learning_rate = 0.01
    config.train.batch_size = 16
    config.train.epochs = 1
    config.train.t5_rate_share = 1.0
    config.train.warmup_steps = 5
    config.train.eval_every_epochs = 1.0
    config.train.metric = "mean/uniform19/NDCG@5"
    config.eval.retrieve = 20
    return ablate(config, arg)
