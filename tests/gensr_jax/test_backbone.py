"""A checkpoint's T5 in GenSR's parameters."""

from __future__ import annotations

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from common.errors import InputError
from gensr_jax.backbone import choose_t5, place_backbone
from gensr_jax.settings import T5Settings
from gensr_jax.t5 import T5Config
from gensr_jax.t5_weights import load_pretrained, parameter_shapes, tensor_shapes

SIZES = {
    "vocab_size": 12, "d_model": 8, "num_heads": 2, "d_kv": 4, "d_ff": 6,
    "num_layers": 1, "num_decoder_layers": 1,
}  # fmt: skip
CONFIG = T5Config(12, 8, 2, 4, 6, 1, 1)
OPTIONS = {"dropout": 0.0, "dtype": "float32", "remat": False}


def words(size=12):
    return SimpleNamespace(size=size, yes=3, no=4)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint of random numbers in the upstream layout."""
    keys = SIZES | {
        "model_type": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(keys))
    rng = np.random.default_rng(0)
    tensors = {}
    for name, shape in tensor_shapes(CONFIG).items():
        turned = len(shape) == 2 and "shared" not in name and "relative" not in name
        tensors[name] = rng.normal(size=shape[::-1] if turned else shape).astype(np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    return tmp_path


def empty_params(full_head):
    """Zeros where a run has random numbers."""
    loaded = {}
    for path, shape in parameter_shapes(CONFIG).items():
        if path[0] == "head" and not full_head:
            continue
        branch = loaded
        for part in path[:-1]:
            branch = branch.setdefault(part, {})
        branch[path[-1]] = jnp.zeros(shape)
    model = {"t5": loaded, "other": jnp.full(3, 7.0)}
    if not full_head:
        model["answers"] = jnp.zeros((8, 2))
    return {"model": model, "word_rms": jnp.float32(1.0), "cf": {"item": jnp.ones(2)}}


def test_the_checkpoint_decides_the_sizes(folder):
    config = choose_t5(str(folder), T5Settings("base", **OPTIONS), words(), full_head=False)
    assert (config.width, config.vocab_size, config.full_head) == (8, 12, False)
    random = choose_t5("", T5Settings("mini", **OPTIONS), words(30), full_head=True)
    assert (random.width, random.vocab_size, random.full_head) == (64, 30, True)
    with pytest.raises(InputError, match="the tokenizer has ids up to 12, the model 12 tokens"):
        choose_t5(str(folder), T5Settings("base", **OPTIONS), words(13), full_head=False)


def test_two_rows_begin_as_yes_and_no(folder):
    _, loaded = load_pretrained(folder)
    params = place_backbone(str(folder), words(), empty_params(full_head=False))
    head = loaded.pop("head")
    np.testing.assert_array_equal(params["model"]["answers"], head[:, [3, 4]])
    jax.tree.map(np.testing.assert_array_equal, params["model"]["t5"], loaded)
    assert params["word_rms"] == pytest.approx(np.sqrt(np.square(loaded["shared"]).mean()))
    assert np.all(params["model"]["other"] == 7)  # new modules stay as they are
    assert np.all(params["cf"]["item"] == 1)


def test_a_full_head_is_taken_whole(folder):
    _, loaded = load_pretrained(folder)
    params = place_backbone(str(folder), words(), empty_params(full_head=True))
    jax.tree.map(np.testing.assert_array_equal, params["model"]["t5"], loaded)
