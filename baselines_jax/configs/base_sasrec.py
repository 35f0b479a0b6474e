"""Every key of a SASRec run with its default. The other configs change a few of them.

Not meant to be run: it has no dataset.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from common.errors import InputError


def get_config(arg: str = "") -> ConfigDict:
    """The defaults: SASRec's own sizes, with the exact softmax."""
    if arg:
        raise InputError(f"--config, argument {arg!r}: sasrec has no ablations; leave it out")
    config = ConfigDict()
    config.method = "sasrec"
    config.seed = 0

    config.data = ConfigDict()
    config.data.path = ""  # a folder made by `python -m launch.prepare`
    config.data.split = "leave_one_out_joint"
    config.data.rec_length = 50  # most recent events kept
    config.data.min_history = 1  # earlier events, of either service, that a target needs

    config.model = ConfigDict()
    config.model.width = 64
    config.model.heads = 2
    config.model.layers = 2
    config.model.dropout = 0.2

    config.loss = ConfigDict()
    config.loss.recommendation = "softmax"  # or sampled_softmax, bce

    config.train = ConfigDict()
    config.train.batch_size = 32  # packed rows of rec_length events, each with many targets
    config.train.epochs = 100
    config.train.negatives = 4  # per target; the softmax needs none
    config.train.negative_sampling = "popularity"  # or uniform
    config.train.learning_rate = 1e-3
    config.train.schedule = "constant"  # or cosine
    config.train.warmup_steps = 0
    config.train.weight_decay = 0.0
    config.train.clip_norm = 5.0  # 0 = off
    config.train.metric = "rec/full/NDCG@10"  # on the validation part
    config.train.patience = 5  # evaluations without a gain; 0 = never stop early
    config.train.plateau_patience = 0  # evaluations without a gain before the rate drops; 0 = never
    config.train.plateau_factor = 0.1
    config.train.plateau_floor = 1e-6
    config.train.eval_every_epochs = 1
    config.train.checkpoint_every_steps = 1000
    config.train.log_every_steps = 20

    config.eval = ConfigDict()
    config.eval.batch_size = 512
    config.eval.filter_seen = "auto"  # or history, train, none
    config.eval.evidence = False
    return config
