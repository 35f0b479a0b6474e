"""SASRec on Amazon Beauty as papers run it: the outside check of the whole pipeline.

python -m launch.prepare --source=amazon_2014 --category=Beauty --raw=DIR --out=datasets/ordered ...
python -m launch.main --config=baselines_jax/configs/sasrec_beauty_published.py --workdir=runs/check

... --history_order=source --splits=leave_one_out_per_task

The reviews file has the published order inside a day, for all 22,363 users.

Test rows, seed 0: Recall@10 0.0838 [0.0802, 0.0875], NDCG@10 0.0429 [0.0408, 0.0450]; Recall@5
0.0549, NDCG@5 0.0335. SASRec in the table of the TIGER paper (Rajput et al. 2023): 0.0605, 0.0318,
0.0387, 0.0249, with a weaker loss (BCE). 53 minutes while other work had most of 2 CPU cores.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from baselines_jax.configs import base_sasrec


def get_config(arg: str = "") -> ConfigDict:
    """Each user's last item is the test target, all items are ranked, none is left out."""
    config = base_sasrec.get_config(arg)
    config.data.path = "datasets/ordered"
    config.data.split = "leave_one_out_per_task"
    config.model.dropout = 0.5
    config.train.epochs = 24
    config.train.schedule = "cosine"
    config.train.warmup_steps = 100
    config.train.patience = 0
    config.train.eval_every_epochs = 3
    config.eval.filter_seen = "none"
    return config
