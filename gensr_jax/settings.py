"""Every setting of GenSR (arXiv 2504.06714). Of forms with several choices the first is the
corrected one; those marked "published" are the released code's, which `:published` turns on.

Symbols: [B] lists  [C] candidates  [N] joint history  [d] width of the CF view  [D] width of T5
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from common.settings.fields import setting
from common.settings.groups import DataSettings, EvalSettings, RunSettings, TrainGroup
from gensr_jax.templates import REC, SEARCH

if TYPE_CHECKING:
    from gensr_jax.t5 import T5Config

PAPER = "arXiv 2504.06714"
RELEASED = "released code"


@dataclass(frozen=True)
class Data(DataSettings):
    """Which data, and how much of the past."""

    history_length: int = setting(
        20, "most recent clicks of both services kept", least=1, source=RELEASED
    )


@dataclass(frozen=True)
class TextSettings:
    """Tokens, titles and prompts."""

    tokens: str = setting(
        "auto",
        "auto, unigram, words, or a folder with a tokenizer.json; a backbone brings its own",
    )
    vocabulary: int = setting(4096, "tokens of a trained tokenizer, beside 256 bytes", least=1)
    noun: str = setting("item", "what the prompt calls an item: book, product, video")
    rec: str = setting(REC, "template of the prompt of recommendation")
    search: str = setting(SEARCH, "template of the prompt of search, with {query}")
    prompt: Literal["pieces", "published", "no_task"] = setting(
        "pieces", "how it is read; no_task: the same prompt for both tasks"
    )
    title_head: int = setting(10, "tokens of a history item in the semantic view", least=1)
    title_full: int = setting(32, "tokens of a candidate", least=1)
    query_length: int = setting(32, "tokens of a query", least=1)
    prompt_multiple: int = setting(8, "prompts are padded to a multiple of this", least=1)


@dataclass(frozen=True)
class T5Settings:
    """The language model."""

    size: Literal["mini", "small", "base", "large", "checkpoint"] = setting(
        "mini", "of random weights; checkpoint: a backbone must be given"
    )
    dropout: float = setting(0.1, "share of numbers dropped", least=0, below=1)
    dtype: Literal["float32", "bfloat16"] = setting(
        "float32", "of activations; softmax, norms and scores stay float32"
    )
    remat: bool = setting(False, "compute activations again in the backward pass: less memory")


@dataclass(frozen=True)
class SwitchSettings:
    """Sizes and switches of the views and of what is around T5. Each may be set alone, which is
    what the ablations do."""

    heads: int = setting(2, "of both views and of the soft filter", least=1)
    dropout: float = setting(0.1, "of the views; T5 has its own", least=0, below=1)
    cf_view: bool = setting(True, "false leaves the slots of the CF view empty")
    semantic_view: bool = setting(True, "false leaves the slots of the semantic view empty")
    cf_trainable: bool = setting(False, "a trained correction is added to the CF table")
    positions: bool = setting(True, "recency in both views")
    semantic_level: Literal["token", "item"] = setting(
        "token", "item: the mean of an item's tokens is one entry"
    )
    filter: Literal["mca", "mean", "bilinear"] = setting(
        "mca", "soft filter; mean: none, a masked mean; bilinear: published", source=PAPER
    )
    filter_init: Literal["xavier", "xavier3d"] = setting(
        "xavier", "xavier3d: with the fan of a [1, d, d] array, published"
    )
    projector: Literal["mlp", "linear"] = setting("mlp", "into T5's space; linear: published")
    soft_tokens: Literal["matched", "raw"] = setting(
        "matched", "RMS of the word embeddings and a learned gain; raw: published"
    )
    contrastive: Literal["normalised", "published"] = setting(
        "normalised", "LayerNorm, L2, learned temperature; or as released"
    )
    temperature: float = setting(0.07, "of the contrast, where it starts", above=0, source=RELEASED)
    null_history: bool = setting(True, 'a learned "no history" entry, always there')
    folded: bool = setting(True, "the exact one-query form of the decoder's cross attention")
    head: Literal["two", "full", "towers"] = setting(
        "two", "rows of the answers; full: the vocabulary, published; towers: a head per task"
    )
    score: Literal["difference", "probability"] = setting(
        "difference", "of the answers' logits; probability of Yes: published"
    )


@dataclass(frozen=True)
class ModelSettings(SwitchSettings):
    """What the modules are made of: settings, T5's sizes, and sizes of a dataset."""

    t5: T5Config = None  # type: ignore[assignment]  # always given
    n_items: int = 0
    history_length: int = 20  # N
    title_length: int = 10  # tokens of a history item in the semantic view
    cf_width: int = 64  # d
    yes: int = 0  # token ids of the answers
    no: int = 0
    score_rows: int = 0  # (list, candidate) rows that scoring holds at once; 0 = `fit_rows`


@dataclass(frozen=True)
class PretrainSettings:
    """How the collaborative table is trained, where it is: LightGCN on the training rows."""

    batch_size: int = setting(2048, "rows of a step", least=1)
    epochs: int = setting(100, "passes over the training rows at most", least=1)
    learning_rate: float = setting(1e-3, "step size", above=0)
    l2: float = setting(1e-4, "of the embeddings of a batch", least=0, source="LightGCN")
    metric: str = setting(
        "rec/full/NDCG@10", "task/protocol/metric of the validation part that decides"
    )
    patience: int = setting(5, "evaluations without a gain before the end; 0 = never", least=0)
    eval_every_epochs: float = setting(5.0, "epochs between two evaluations", above=0)


@dataclass(frozen=True)
class CfSettings(PretrainSettings):
    """The collaborative table."""

    table: Literal["propagated", "layer0"] = setting(
        "propagated", "what is taken from LightGCN; layer0: published"
    )
    given: str = setting("", '.npy file, float32 [items + 1, width]; "" = train LightGCN')
    width: int = setting(64, "numbers in a vector; divisible by model.heads", least=1)
    layers: int = setting(2, "of the propagation", least=0)


@dataclass(frozen=True)
class LossSettings:
    """The loss of the stage `tune`."""

    task: Literal["bce_z", "group", "vocab_ce"] = setting(
        "bce_z", "of the answers; vocab_ce: published, needs model.head=full"
    )
    group_bce_weight: float = setting(1.0, "of the binary part of group", least=0)
    contrastive_weight: float = setting(0.01, "of the contrast", least=0, source=RELEASED)
    contrastive_rows: Literal["positives", "all"] = setting("positives", "all: published")


@dataclass(frozen=True)
class Train(TrainGroup):
    """The stage `tune`."""

    batch_size: int = setting(40, "lists of a step, each 1 positive and `negatives`", least=1)
    learning_rate: float = setting(1e-3, "step size of the new modules", above=0)
    negatives: int = setting(4, "items drawn beside each target", least=1)
    negative_sampling: Literal["mixed", "popularity", "uniform"] = setting(
        "mixed", "how they are drawn; mixed: half by popularity, a quarter of the leaf category"
    )
    fresh_negatives: bool = setting(True, "false = the same ones in every epoch, published")
    t5_rate_share: float = setting(0.1, "of the rate, for T5", least=0)
    word_rate_share: float = setting(
        1.0, "of T5's, for its word embeddings; random ones need more", least=0
    )
    decay_tables: bool = setting(False, "decay tables of vectors too, published")
    probe_every_steps: int = setting(
        100, "steps between two looks at the gradients of the single losses; 0 = never", least=0
    )


@dataclass(frozen=True)
class Eval(EvalSettings):
    """How a trained model is judged."""

    score_rows: int = setting(
        0, "(list, candidate) rows scored at once; 0 = by the device", least=0, role="free"
    )
    retrieve: int = setting(
        1000, "items found in the catalogue, to rank again; 0 = none", least=0, role="judge"
    )


@dataclass(frozen=True)
class Settings(RunSettings):
    """Every key of a GenSR run."""

    method: Literal["gensr"] = setting("gensr", "name of the method")
    data: Data = Data()
    text: TextSettings = TextSettings()
    backbone: str = setting(
        "", "folder of a Flan-T5 checkpoint; empty = random weights of t5.size", role="content"
    )
    t5: T5Settings = T5Settings()
    model: SwitchSettings = SwitchSettings()
    cf: CfSettings = CfSettings()
    retriever: str = setting(
        "",
        "workdir of a finished run, on the same data, of a method that ranks the catalogue: it "
        "finds the items that GenSR ranks again; empty = LightGCN finds them",
        role="judge",
    )
    loss: LossSettings = LossSettings()
    train: Train = Train(
        epochs=10,
        schedule="cosine",
        warmup_steps=200,
        weight_decay=1e-3,
        clip_norm=1.0,
        metric="mean/uniform99/NDCG@5",
        eval_every_epochs=0.5,
    )
    eval: Eval = Eval(batch_size=16, evidence=False)
