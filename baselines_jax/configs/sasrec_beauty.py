"""SASRec on Amazon Beauty 2014 (5-core), histories strictly before the day of the target.

python -m launch.prepare --source=amazon_2014 --raw=DIR --out=datasets/beauty --category=Beauty
python -m launch.main --config=baselines_jax/configs/sasrec_beauty.py --workdir=runs/sasrec_beauty
"""

from __future__ import annotations

from ml_collections import ConfigDict

from baselines_jax.configs import base_sasrec


def get_config(arg: str = "") -> ConfigDict:
    """Exact softmax over the 12,101 items. Chosen on validation rows, never on test rows."""
    config = base_sasrec.get_config(arg)
    config.data.path = "datasets/beauty"
    config.model.dropout = 0.5
    config.train.epochs = 16
    config.train.schedule = "cosine"
    config.train.warmup_steps = 100
    config.train.patience = 0
    config.train.eval_every_epochs = 4
    return config
