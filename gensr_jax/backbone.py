"""T5 inside GenSR: random weights of a size, or a published checkpoint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from common.data.hashing import file_sha256
from common.errors import InputError
from common.training.task import Identity
from gensr_jax.settings import T5Settings
from gensr_jax.t5 import SIZES, T5Config
from gensr_jax.t5_weights import find_files, find_tensors, load_pretrained, read_config
from gensr_jax.vocabulary import Vocabulary

# `config.t5.size` where nothing but a checkpoint will do.
CHECKPOINT = "checkpoint"
FILES = "give the folder of a Flan-T5 checkpoint (config.json, model.safetensors, tokenizer.json)"


def check_backbone(backbone: str, size: str) -> None:
    """Raises InputError where a checkpoint is wanted and not given, or its folder is not there."""
    if not backbone and size == CHECKPOINT:
        raise InputError(f"config.backbone: missing; {FILES}")
    if backbone and not Path(backbone).is_dir():
        raise InputError(f"config.backbone = {backbone}: no such folder; {FILES}")


def check_weights(backbone: str) -> None:
    """Raises InputError for a checkpoint whose tensors cannot be T5's; reads their names alone."""
    find_tensors(Path(backbone))


def identify_backbone(backbone: str) -> Identity | None:
    """What a checkpoint keeps of a backbone's content, wherever the folder is.

    None where the weights are gone: they are read once, when a run begins.
    Raises InputError for a folder whose files cannot be read.
    """
    folder = Path(backbone)
    config, _ = read_config(folder)
    try:
        weights = [file_sha256(path) for path in find_files(folder)]
    except (InputError, FileNotFoundError):
        return None
    text = json.dumps([asdict(config), weights], sort_keys=True)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return Identity("backbone", sha256, "use the checkpoint folder that it was trained from")


def choose_t5(
    backbone: str,
    settings: T5Settings,
    vocabulary: Vocabulary,
    *,
    full_head: bool,
) -> T5Config:
    """The sizes of the T5 and how it is computed.

    backbone: folder of a checkpoint, which then decides the sizes; "" = random weights of
        `settings.size`
    Raises InputError for a checkpoint that is no T5 v1.1, or has no token for an id of its
    tokenizer.
    """
    if backbone:
        config, _ = read_config(Path(backbone))
        if vocabulary.size > config.vocab_size:
            raise InputError(
                f"{backbone}: the tokenizer has ids up to {vocabulary.size - 1}, the model "
                f"{config.vocab_size} tokens; use the tokenizer of that checkpoint"
            )
    else:
        config = replace(SIZES[settings.size], vocab_size=vocabulary.size)
    computed = {name: getattr(settings, name) for name in ("dropout", "dtype", "remat")}
    return replace(config, full_head=full_head, **computed)


def place_backbone(
    backbone: str, vocabulary: Vocabulary, params: Mapping[str, Any]
) -> dict[str, Any]:
    """The parameters of a GenSR task with a checkpoint's T5 in place of the random one.

    params: `model` and `word_rms`, on the devices; the new arrays are placed as the old ones are
    The two-row head begins with the checkpoint's rows of Yes and No.
    """
    _, loaded = load_pretrained(backbone)
    head = loaded["head"]
    model = dict(params["model"])
    if "head" not in model["t5"]:
        loaded = {name: tree for name, tree in loaded.items() if name != "head"}
    model["t5"] = jax.tree.map(place_like, dict(model["t5"]), loaded)
    if "answers" in model:
        answers = np.stack([head[:, vocabulary.yes], head[:, vocabulary.no]], axis=1)
        model["answers"] = place_like(model["answers"], answers)
    rms = np.sqrt(np.square(loaded["shared"]).mean(dtype=np.float64)).astype(np.float32)
    return {**params, "model": model, "word_rms": place_like(params["word_rms"], rms)}


def place_like(old: jax.Array, new: np.ndarray) -> jax.Array:
    """`new` on the devices as `old` is. Raises ValueError for another shape."""
    if old.shape != new.shape:
        raise ValueError(f"shape {new.shape} instead of {old.shape}")
    return jax.device_put(new.astype(old.dtype), old.sharding)
