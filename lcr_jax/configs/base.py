"""Every key of an LCR run with its default. The other configs change a few of them.

Not meant to be run: it has no dataset.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from lcr_jax.configs.ablations import ablate


def get_config(arg: str = "") -> ConfigDict:
    """The defaults: sizes and weights of our reconstruction of arXiv 2508.04152."""
    config = ConfigDict()
    config.method = "lcr"
    config.seed = 0

    config.data = ConfigDict()
    config.data.path = ""  # a folder made by `python -m launch.prepare`
    config.data.split = "leave_one_out_joint"
    config.data.rec_length = 20  # most recent events kept
    config.data.search_length = 20
    config.data.clicks = 5  # clicked items kept per search
    config.data.searches = True  # False = as if nobody had ever searched
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
    config.reasoner.support = False  # evidence has a prior: does the rec history know the search?
    config.reasoner.reground = False

    config.loss = ConfigDict()
    config.loss.recommendation = "bce"  # or sampled_softmax, softmax
    config.loss.contrastive_weight = 0.1
    config.loss.temperature = 0.1
    config.loss.temperature_growth = 1.5
    config.loss.evidence_weight = 0.0  # evidence has to explain the target; ours, off = literal
    config.loss.evidence_negatives = 256
    config.loss.distractors = 0.0  # share of another row's searches mixed in while training; ours
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
    config.train.eval_every_epochs = 1.0
    config.train.checkpoint_every_steps = 1000
    config.train.log_every_steps = 20

    # A second stage after the supervised one. Its data order, updates and learning rate are the
    # same for every kind, so that reinforcement can be compared with its controls:
    #     none | reinforce | more (A: L_1 goes on) | likelihood (B: as LARES) | ranking (C: a
    #     differentiable ranking loss) | noise (D: rollouts without reward)
    config.second = ConfigDict()
    config.second.kind = "none"
    config.second.start = ""  # workdir of a finished run to begin with; "" = train stage 1 here
    config.second.train = "reasoner"  # everything else frozen; or all
    config.second.epochs = 2
    config.second.eval_every_epochs = 0.25
    config.second.learning_rate = 0.0  # 0 = 1e-4 for reasoner, 3e-5 for all
    config.second.clip_norm = 1.0
    config.second.rollouts = 8
    config.second.noise = 0.1  # standard deviation, relative to the RMS of the state
    config.second.kl_weight = 0.1
    config.second.anchor_weight = 1.0  # of the stage-1 loss
    config.second.dropout = False  # in the stage-1 loss of this stage
    config.second.clip_low = 0.8
    config.second.clip_high = 1.28
    config.second.reward = "dense_ndcg"  # or ndcg_at_10, reciprocal_rank, log_softmax
    config.second.negatives = 64  # candidates drawn as train.negative_sampling says
    config.second.in_batch = 35  # candidates that are targets of other rows
    config.second.ranking_loss = "approx_ndcg"  # or softmax; kind=ranking
    config.second.temperature = 1.0  # kinds likelihood, ranking, noise

    config.eval = ConfigDict()
    config.eval.batch_size = 512
    config.eval.filter_seen = "auto"  # or history, train, none
    config.eval.evidence = True  # the evidence figures, on data with planted truth
    return ablate(config, arg)
