"""A T5 v1.1 checkpoint folder in the upstream layout, tiny and random: no name of it is ours.

Written from the public layout of such folders, so that a fault in our names shows.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from safetensors.numpy import save_file

WIDTH, HEADS, HEAD_WIDTH, FF, VOCABULARY = 16, 2, 8, 24, 128
CONFIG: dict[str, Any] = {
    "architectures": ["T5ForConditionalGeneration"],
    "d_ff": FF,
    "d_kv": HEAD_WIDTH,
    "d_model": WIDTH,
    "decoder_start_token_id": 0,
    "dropout_rate": 0.1,
    "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "t5",
    "n_positions": 512,
    "num_decoder_layers": 1,
    "num_heads": HEADS,
    "num_layers": 1,
    "output_past": True,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}
ANSWERS = ("Yes", "No")


def write_flan(folder: Path, answers: tuple[str, ...] = ANSWERS) -> Path:
    """Writes config.json, model.safetensors and tokenizer.json; returns the folder.

    answers: words that are one token each
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2))
    save_file(make_tensors(), folder / "model.safetensors", metadata={"format": "pt"})
    make_tokenizer(answers).save(str(folder / "tokenizer.json"))
    return folder


def make_tensors() -> dict[str, np.ndarray]:
    """The tensors by their upstream names, linear layers as [out, in]."""
    rng = np.random.default_rng(0)
    inner = HEADS * HEAD_WIDTH
    tensors: dict[str, np.ndarray] = {}

    def add(name: str, *shape: int) -> None:
        spread = 1.0 if len(shape) == 1 or name == "shared" else shape[-1] ** -0.5
        tensors[f"{name}.weight"] = (spread * rng.normal(size=shape)).astype(np.float32)

    def add_attention(place: str) -> None:
        for name in "qkv":
            add(f"{place}.{name}", inner, WIDTH)
        add(f"{place}.o", WIDTH, inner)

    add("shared", VOCABULARY, WIDTH)
    add("lm_head", VOCABULARY, WIDTH)
    for stack, layers, parts in (
        ("encoder", CONFIG["num_layers"], ("SelfAttention", "DenseReluDense")),
        (
            "decoder",
            CONFIG["num_decoder_layers"],
            ("SelfAttention", "EncDecAttention", "DenseReluDense"),
        ),
    ):
        for block in range(layers):
            for number, part in enumerate(parts):
                place = f"{stack}.block.{block}.layer.{number}"
                add(f"{place}.layer_norm", WIDTH)
                if part == "DenseReluDense":
                    for name, shape in (
                        ("wi_0", (FF, WIDTH)), ("wi_1", (FF, WIDTH)), ("wo", (WIDTH, FF)),
                    ):  # fmt: skip
                        add(f"{place}.{part}.{name}", *shape)
                else:
                    add_attention(f"{place}.{part}")
        first = f"{stack}.block.0.layer.0.SelfAttention"
        add(f"{first}.relative_attention_bias", 32, HEADS)
        add(f"{stack}.final_layer_norm", WIDTH)
    return tensors


def make_tokenizer(answers: tuple[str, ...] = ANSWERS) -> tokenizers.Tokenizer:
    """A unigram tokenizer of letters, as T5's: <pad>, </s>, <unk>, words with a mark in front."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    pieces += [("\u2581" + word, -2.0) for word in (*answers, "user", "item", "the")]
    pieces += [(letter, -5.0) for letter in "\u2581" + string.ascii_letters + string.digits]
    pieces += [(mark, -5.0) for mark in ".,:?"]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=2))
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.add_special_tokens([f"<extra_id_{i}>" for i in range(9, -1, -1)])
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    tokenizer.decoder = tokenizers.decoders.Metaspace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    tokenizer.enable_truncation(512)
    assert tokenizer.get_vocab_size() <= VOCABULARY
    return tokenizer
