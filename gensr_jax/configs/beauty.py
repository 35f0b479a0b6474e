"""A small GenSR from scratch on Amazon Beauty 2014 (5-core), with pseudo-queries.

python -m launch.prepare --source=amazon_2014 --raw=DIR --out=datasets/beauty --category=Beauty
python -m launch.main --config=gensr_jax/configs/beauty.py --workdir=runs/gensr_beauty
"""

from __future__ import annotations

from ml_collections import ConfigDict

from gensr_jax.configs import base
from gensr_jax.configs.ablations import ablate


def get_config(arg: str = "") -> ConfigDict:
    """Random weights of the mini size; an hour on a CPU. Figures: docs/gensr.md."""
    config = base.get_config()
    config.data.path = "datasets/beauty"
    config.text.noun = "product"
    config.text.rec = "{hist_cf} {hist_sem} likes {cand_cf} {cand_sem} ?"
    config.text.search = "{hist_cf} {hist_sem} likes {cand_cf} {cand_sem} asks {query} ?"
    config.text.prompt_multiple = 4
    config.text.query_length = 16
    config.t5.dropout = 0.0
    config.model.semantic_level = "item"
    config.cf.learning_rate = 0.01
    config.cf.epochs = 10
    config.train.batch_size = 128
    config.train.epochs = 3
    config.train.learning_rate = 2e-3
    config.train.t5_rate_share = 1.0
    config.train.word_rate_share = 60.0  # of 1, 5, 20, 60: chosen on demo's validation rows
    config.train.eval_every_epochs = 3.0
    config.train.probe_every_steps = 0
    config.eval.retrieve = 100
    return ablate(config, arg)
