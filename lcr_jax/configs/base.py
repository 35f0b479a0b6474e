"""Every key of an LCR run with its default. The other configs change a few of them.

Not meant to be run: it has no dataset.
"""

from __future__ import annotations

from ml_collections import ConfigDict


def get_config(arg: str = "") -> ConfigDict:
    """The defaults: sizes and weights of our reconstruction of arXiv 2508.04152."""
    del arg
    config = ConfigDict()
    config.method = "lcr"
    config.seed = 0

    config.data = ConfigDict()
    config.data.path = ""  # a folder made by `python -m launch.prepare`
    config.data.split = "leave_one_out_joint"
    config.data.rec_length = 20  # most recent events kept
    config.data.search_length = 20
    config.data.clicks = 5  # clicked items kept per search
    config.data.min_history = 1  # earlier events, of either service, that a target needs

    config.model = ConfigDict()
    config.model.width = 64
    config.model.heads = 2
    config.model.layers = 1
    config.model.dropout = 0.1
    config.model.encoder = "merged"  # or grounded (evidence is the only way in for searches), dual
    config.model.places = 0  # rows of the recency table; 0 = rec_length + search_length
    config.model.user = False  # an embedding per user
    config.model.categories = True  # category embeddings beside item ids, where there are any
    config.model.scorer = "dot_mlp"  # or dot
    config.model.evidence_mode = "log"  # or off

    config.reasoner = ConfigDict()
    config.reasoner.steps = 3  # 0 = the base without reasoning
    config.reasoner.gate = True
    config.reasoner.null_event = True
    config.reasoner.reground = False

    config.loss = ConfigDict()
    config.loss.recommendation = "bce"  # or sampled_softmax, softmax
    config.loss.contrastive_weight = 0.1
    config.loss.temperature = 0.1
    config.loss.temperature_growth = 1.5
    config.loss.alignment_weight = 0.1
    config.loss.alignment_temperature = 0.1
    config.loss.alignment_pairs = 4
    config.loss.alignment_negatives = 1024

    config.train = ConfigDict()
    config.train.batch_size = 1024
    config.train.epochs = 100
    config.train.negatives = 4
    config.train.negative_sampling = "popularity"  # or uniform
    config.train.learning_rate = 1e-3
    config.train.schedule = "constant"  # or cosine
    config.train.warmup_steps = 0
    config.train.weight_decay = 1e-5
    config.train.clip_norm = 0.0  # 0 = off
    config.train.metric = "rec/uniform99/NDCG@5"  # on the validation part
    config.train.patience = 5  # evaluations without a gain; 0 = never stop early
    config.train.plateau_patience = 3  # evaluations without a gain before the rate drops; 0 = never
    config.train.plateau_factor = 0.1
    config.train.plateau_floor = 1e-6
    config.train.eval_every_epochs = 1
    config.train.checkpoint_every_steps = 1000
    config.train.log_every_steps = 20

    config.eval = ConfigDict()
    config.eval.batch_size = 512
    config.eval.filter_seen = "history"  # or train, none
    config.eval.evidence = True  # the evidence figures, on data with planted truth
    return config
