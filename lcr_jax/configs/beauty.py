"""LCR on Amazon Beauty 2014 (5-core), real interactions with pseudo-queries.

python -m launch.prepare --source=amazon_2014 --raw=DIR --out=datasets/beauty --category=Beauty
python -m launch.main --config=lcr_jax/configs/beauty.py --workdir=runs/beauty
"""

from __future__ import annotations

from ml_collections import ConfigDict

from lcr_jax.configs import base
from lcr_jax.configs.ablations import ablate


def get_config(arg: str = "") -> ConfigDict:
    """Exact softmax over the 12,101 items. Chosen on validation rows, never on test rows."""
    config = base.get_config()
    config.data.path = "datasets/beauty"
    config.data.rec_length = 20
    config.data.search_length = 10
    config.data.clicks = 1
    config.model.scorer = "dot"
    config.model.dropout = 0.3
    config.reasoner.support = True
    config.loss.recommendation = "softmax"
    config.loss.evidence_weight = 1.0
    config.loss.alignment_negatives = 256
    config.train.epochs = 12
    config.train.negatives = 1  # the exact softmax needs none
    config.train.learning_rate = 2e-3
    config.train.schedule = "cosine"
    config.train.warmup_steps = 100
    config.train.weight_decay = 0.0
    config.train.clip_norm = 5.0
    config.train.metric = "rec/full/NDCG@10"
    config.train.plateau_patience = 0
    return ablate(config, arg)
