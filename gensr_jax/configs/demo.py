"""GenSR from scratch on the planted-truth synthetic dataset.

python -m launch.prepare --source=synthetic --preset=demo --out=datasets/demo
python -m launch.main --config=gensr_jax/configs/demo.py --workdir=runs/gensr_demo

Time: 5 minutes on 2 CPU cores. Scores: docs/gensr.md.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from gensr_jax.configs import base
from gensr_jax.configs.ablations import ablate


def get_config(arg: str = "") -> ConfigDict:
    """Random weights of the mini size and short prompts: made-up words have no grammar."""
    config = base.get_config()
    config.data.path = "datasets/demo"
    config.text.title_full = 10
    config.text.rec = "{hist_cf} {hist_sem} likes {cand_cf} {cand_sem} ?"
    config.text.search = "{hist_cf} {hist_sem} likes {cand_cf} {cand_sem} asks {query} ?"
    config.text.prompt_multiple = 4
    config.t5.dropout = 0.0
    config.model.semantic_level = "item"
    config.cf.epochs = 15
    config.cf.learning_rate = 0.01
    config.cf.eval_every_epochs = 3.0
    config.cf.patience = 2
    config.train.batch_size = 128
    config.train.epochs = 3
    config.train.learning_rate = 2e-3
    config.train.t5_rate_share = 1.0
    config.train.word_rate_share = 60.0  # of 1, 5, 20, 60: chosen on demo's validation rows
    config.train.warmup_steps = 100
    config.train.patience = 0
    config.train.eval_every_epochs = 3.0
    config.train.probe_every_steps = 0
    config.eval.retrieve = 100
    return ablate(config, arg)
