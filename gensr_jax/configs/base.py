"""Every key of a GenSR run with its default. The other configs change a few of them.

Not meant to be run: it has no dataset.
"""

from __future__ import annotations

from ml_collections import ConfigDict

from gensr_jax.configs.ablations import ablate
from gensr_jax.configs.templates import REC, SEARCH


def get_config(arg: str = "") -> ConfigDict:
    """The defaults: the corrected model; `:published` turns every switch back."""
    config = ConfigDict()
    config.method = "gensr"
    config.seed = 0

    config.data = ConfigDict()
    config.data.path = ""  # a folder made by `python -m launch.prepare`
    config.data.split = "leave_one_out_joint"
    config.data.history_length = 20  # most recent clicks of both services kept
    config.data.min_history = 1  # earlier events, of either service, that a target needs

    config.text = ConfigDict()
    config.text.tokens = "auto"  # or unigram, words; with a backbone its own tokenizer is used
    config.text.vocabulary = 4096  # tokens of a trained unigram tokenizer, beside 256 bytes
    config.text.noun = "item"  # what the prompt calls an item: book, product, video
    # Templates of the prompts; {query} stands in the second one only.
    config.text.rec = REC
    config.text.search = SEARCH
    config.text.prompt = "pieces"  # or published, no_task (the same prompt for both tasks)
    config.text.title_head = 10  # tokens of a history item in the semantic view
    config.text.title_full = 32  # tokens of a candidate
    config.text.query_length = 32
    config.text.prompt_multiple = 8  # prompts are padded to a multiple of this

    config.backbone = ""  # folder of a Flan-T5 checkpoint; "" = random weights of config.t5.size
    config.t5 = ConfigDict()
    config.t5.size = "mini"  # or small, base, large, checkpoint (a backbone must be given)
    config.t5.dropout = 0.1
    config.t5.dtype = "float32"  # or bfloat16: of activations; softmax, norms, scores stay float32
    config.t5.remat = False  # compute activations again in the backward pass

    config.model = ConfigDict()
    config.model.heads = 2  # of both views and of the soft filter
    config.model.dropout = 0.1
    config.model.cf_view = True
    config.model.semantic_view = True
    config.model.cf_trainable = False
    config.model.positions = True
    config.model.semantic_level = "token"  # or item
    config.model.filter = "mca"  # or mean (no filter), bilinear (published)
    config.model.filter_init = "xavier"  # or xavier3d (published)
    config.model.projector = "mlp"  # or linear (published)
    config.model.soft_tokens = "matched"  # or raw (published)
    config.model.contrastive = "normalised"  # or published
    config.model.temperature = 0.07
    config.model.null_history = True
    config.model.folded = True
    config.model.head = "two"  # or full (published), towers (discriminative twin)
    config.model.score = "difference"  # or probability (published)

    # The collaborative table: LightGCN, trained first on the graph of the training rows.
    config.cf = ConfigDict()
    config.cf.table = "propagated"  # or layer0 (published)
    config.cf.given = ""  # .npy file, float32 [items + 1, width]; "" = train LightGCN
    config.cf.width = 64
    config.cf.layers = 2
    config.cf.batch_size = 2048
    config.cf.epochs = 100
    config.cf.learning_rate = 1e-3
    config.cf.l2 = 1e-4
    config.cf.metric = "rec/full/NDCG@10"
    config.cf.patience = 5  # evaluations without a gain
    config.cf.eval_every_epochs = 5.0

    # Workdir of a finished run, on the same data, of a method that ranks the catalogue: it finds
    # the items that GenSR ranks again, for the tasks that it serves. "" = LightGCN finds them.
    config.retriever = ""

    config.loss = ConfigDict()
    config.loss.task = "bce_z"  # or group, vocab_ce (published)
    config.loss.group_bce_weight = 1.0
    config.loss.contrastive_weight = 0.01
    config.loss.contrastive_rows = "positives"  # or all (published)

    config.train = ConfigDict()
    config.train.batch_size = 40  # lists of 1 positive and `negatives`
    config.train.epochs = 10
    config.train.negatives = 4
    config.train.negative_sampling = "mixed"  # or popularity, uniform
    config.train.fresh_negatives = True  # False = the same ones in every epoch (published)
    config.train.learning_rate = 1e-3  # of the new modules
    config.train.t5_rate_share = 0.1  # of it for T5
    config.train.word_rate_share = 1.0  # of T5's for its word embeddings; random ones need more
    config.train.schedule = "cosine"  # or constant
    config.train.warmup_steps = 200
    config.train.weight_decay = 1e-3  # of matrices
    config.train.decay_tables = False  # and of tables of vectors, such as embeddings (published)
    config.train.clip_norm = 1.0
    config.train.metric = "mean/uniform99/NDCG@5"  # on the validation part
    config.train.patience = 5  # evaluations without a gain; 0 = never stop early
    config.train.eval_every_epochs = 0.5
    config.train.checkpoint_every_steps = 1000
    config.train.log_every_steps = 20
    config.train.probe_every_steps = 100  # gradients of the single losses; 0 = never

    config.eval = ConfigDict()
    config.eval.batch_size = 16  # lists
    config.eval.score_rows = 0  # (list, candidate) rows scored at once; 0 = by the device
    config.eval.filter_seen = "auto"  # or history, train, none
    config.eval.evidence = False  # GenSR has no evidence over searches
    config.eval.retrieve = 1000  # items found in the catalogue, to rank again; 0 = none
    return ablate(config, arg)
