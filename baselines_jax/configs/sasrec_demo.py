"""SASRec on the planted-truth synthetic dataset.

python -m launch.prepare --source=synthetic --preset=demo --out=datasets/demo
python -m launch.main --config=baselines_jax/configs/sasrec_demo.py --workdir=runs/sasrec_demo
"""

from __future__ import annotations

from ml_collections import ConfigDict

from baselines_jax.configs import base_sasrec


def get_config(arg: str = "") -> ConfigDict:
    """Exact softmax over the 1,000 items. Chosen on validation rows, never on test rows."""
    config = base_sasrec.get_config(arg)
    config.data.path = "datasets/demo"
    config.model.dropout = 0.5
    config.train.batch_size = 16
    config.train.epochs = 16
    config.train.schedule = "cosine"
    config.train.patience = 0
    config.train.eval_every_epochs = 2
    return config
