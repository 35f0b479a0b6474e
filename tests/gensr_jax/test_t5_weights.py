"""Checkpoints: parity with the reference T5 by golden numbers, and what the loader refuses."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from common.errors import InputError
from gensr_jax.t5 import T5, T5Config, logits
from gensr_jax.t5_weights import find_places, load_pretrained, parameter_shapes, tensor_shapes

FOLDER = Path(__file__).parents[1] / "golden"
WI = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
COPY = "decoder.embed_tokens.weight"


def load_recipe():
    spec = importlib.util.spec_from_file_location("t5_recipe", FOLDER / "make_t5_golden.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    return recipe


RECIPE = load_recipe()


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(FOLDER / "t5_golden.npz"))


@pytest.fixture(scope="module")
def weights(golden):
    """The reference's tensors, by their names and shapes there."""
    shapes = {name[5:]: array.shape for name, array in golden.items() if name.startswith("grad/")}
    return {name: RECIPE.make_weight(name, shape) for name, shape in shapes.items()}


def write_folder(folder: Path, weights: dict, **keys: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**RECIPE.CONFIG, **keys}))
    save_file(weights, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, weights):
    return write_folder(tmp_path_factory.mktemp("t5") / "whole", weights)


@pytest.fixture
def folder(checkpoint, tmp_path):
    """A copy of the checkpoint, to be spoilt."""
    return Path(shutil.copytree(checkpoint, tmp_path / "copy"))


def assert_same_tree(ours, other):
    assert jax.tree.structure(ours) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, ours, other)


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_pretrained(folder)
    text = str(caught.value)
    assert str(folder) in text
    assert "\n" not in text
    return text


def test_logits_and_gradients_are_those_of_the_reference(checkpoint, golden):
    config, params = load_pretrained(checkpoint)
    inputs = RECIPE.make_inputs()
    scores = logits(config, params, **inputs)
    assert scores.dtype == jnp.float32
    assert scores.shape == (3, 5, 50)
    assert np.abs(scores - golden["logits"]).max() < 1e-4
    direction = RECIPE.make_numbers("direction", scores.shape)
    grads = jax.grad(lambda params: (logits(config, params, **inputs) * direction).sum())(params)
    seen = 0
    pieces = {
        name: grad[place]
        for path, grad in flatten_dict(grads).items()
        for name, place in find_places(path, grad.shape).items()
    }
    for name, grad in pieces.items():
        turned = grad.ndim == 2 and name != "shared.weight" and "bias" not in name
        ours = np.asarray(grad.T if turned else grad, np.float64).ravel()
        theirs = golden[f"grad/{name}"].astype(np.float64).ravel()
        size, wanted_size = np.linalg.norm(ours), np.linalg.norm(theirs)
        assert ours @ theirs > 0.9999 * size * wanted_size, name
        assert size == pytest.approx(wanted_size, rel=1e-3), name
        seen += ours.size
    assert seen == sum(grad.size for name, grad in golden.items() if name.startswith("grad/"))


def test_the_configuration_is_read(checkpoint):
    config, params = load_pretrained(checkpoint)
    assert config == T5Config(
        vocab_size=50,
        width=24,
        heads=3,
        head_width=6,
        ff_width=32,
        encoder_layers=2,
        decoder_layers=3,
    )
    leaves = flatten_dict(params)
    assert {path: leaf.shape for path, leaf in leaves.items()} == parameter_shapes(config)
    assert {leaf.dtype for leaf in leaves.values()} == {np.dtype(np.float32)}
    assert all(leaf.flags.c_contiguous for leaf in leaves.values())


def test_names_cover_the_reference_one_to_one(weights):
    config = T5Config(50, 24, 3, 6, 32, 2, 3)
    assert sorted(tensor_shapes(config)) == sorted(weights)


def test_shards_give_the_same_parameters(checkpoint, folder, weights):
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    weight_map = {}
    for shard, part in enumerate((names[::2], names[1::2]), start=1):
        file = f"model-0000{shard}-of-00002.safetensors"
        save_file({name: weights[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    assert_same_tree(load_pretrained(folder)[1], load_pretrained(checkpoint)[1])
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "model-00002-of-00002.safetensors" in refusal(folder)
    index.write_text(json.dumps({"weight_map": {"shared.weight": "../secret.safetensors"}}))
    assert "weight_map" in refusal(folder)


def test_bfloat16_files_are_widened(checkpoint, folder, weights):
    coarse = {name: weight.astype(ml_dtypes.bfloat16) for name, weight in weights.items()}
    save_file(coarse, folder / "model.safetensors")
    params = load_pretrained(folder)[1]
    np.testing.assert_array_equal(
        params["encoder"]["layers"]["feed"]["wi_0"][0], coarse[WI].T.astype(np.float32)
    )
    exact = load_pretrained(checkpoint)[1]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-8), params, exact)


def test_copies_of_the_shared_table_are_checked(checkpoint, folder, weights):
    shared = weights["shared.weight"]
    copies = {"encoder.embed_tokens.weight": shared, COPY: shared}
    save_file(weights | copies, folder / "model.safetensors")
    exact = load_pretrained(checkpoint)[1]
    assert_same_tree(load_pretrained(folder)[1], exact)
    # Files that dropped the doubles may have kept any of the three names.
    bare = {name: weight for name, weight in weights.items() if name != "shared.weight"}
    save_file(bare | {COPY: shared}, folder / "model.safetensors")
    assert_same_tree(load_pretrained(folder)[1], exact)
    save_file(weights | {COPY: shared + 1}, folder / "model.safetensors")
    assert f"{COPY} differs from shared.weight" in refusal(folder)


def test_a_head_that_transformers_5_left_out_is_the_shared_table(tmp_path, weights):
    keys = {"tie_word_embeddings": True, "scale_decoder_outputs": False}
    whole = write_folder(tmp_path / "whole", weights, **keys)
    assert not np.array_equal(load_pretrained(whole)[1]["head"], weights["shared.weight"].T)
    del (bare := dict(weights))["lm_head.weight"]
    params = load_pretrained(write_folder(tmp_path / "bare", bare, **keys))[1]
    np.testing.assert_array_equal(params["head"], weights["shared.weight"].T)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "bart"),
        ("feed_forward_proj", "relu"),
        ("feed_forward_proj", "gated-silu"),
        ("tie_word_embeddings", True),
        ("layer_norm_epsilon", 1e-5),
        ("d_model", 0),
        ("num_layers", "2"),
        ("dropout_rate", 1.5),
        ("pad_token_id", -1),
    ],
)
def test_another_architecture_is_refused_by_its_key(folder, key, value):
    (folder / "config.json").write_text(json.dumps({**RECIPE.CONFIG, key: value}))
    text = refusal(folder)
    assert f"config.json, {key}: is {json.dumps(value)}" in text


@pytest.mark.parametrize("key", ["model_type", "feed_forward_proj", "tie_word_embeddings", "d_ff"])
def test_keys_that_must_not_be_missing(folder, key):
    keys = {name: value for name, value in RECIPE.CONFIG.items() if name != key}
    (folder / "config.json").write_text(json.dumps(keys))
    assert f"config.json, {key}: is " in refusal(folder)


def test_missing_unknown_and_misshapen_tensors_are_listed_together(folder, weights):
    spoilt = dict(weights)
    del spoilt["lm_head.weight"], spoilt["decoder.final_layer_norm.weight"]
    spoilt["encoder.block.2.layer.0.layer_norm.weight"] = np.ones(24, np.float32)
    spoilt[WI] = spoilt[WI].T.copy()
    spoilt["encoder.final_layer_norm.weight"] = np.ones(24, np.int8)
    save_file(spoilt, folder / "model.safetensors")
    text = refusal(folder)
    assert "2 missing (decoder.final_layer_norm.weight, lm_head.weight)" in text
    assert "1 unknown (encoder.block.2.layer.0.layer_norm.weight)" in text
    assert f"1 misshapen ({WI}: [24, 32] instead of [32, 24])" in text
    assert "1 of another dtype (encoder.final_layer_norm.weight: I8)" in text


def test_long_lists_of_tensors_are_cut(folder):
    (folder / "config.json").write_text(json.dumps({**RECIPE.CONFIG, "num_layers": 6}))
    text = refusal(folder)
    # Four layers of nine tensors each.
    assert "36 missing (encoder.block.2.layer.0.SelfAttention.k.weight" in text
    assert "and 16 more)" in text


def test_incomplete_folders(folder, tmp_path):
    assert "config.json: missing; name a folder" in refusal(tmp_path / "nothing")
    (folder / "model.safetensors").write_bytes(b"\0" * 20)
    assert "model.safetensors: cannot be read" in refusal(folder)
    (folder / "model.safetensors").unlink()
    assert "has neither model.safetensors nor" in refusal(folder)
    (folder / "config.json").write_text("{")
    assert "is no JSON" in refusal(folder)
    (folder / "config.json").write_text("[]")
    assert "is a list, not an object" in refusal(folder)


def test_loaded_parameters_are_those_that_init_makes(checkpoint):
    config, params = load_pretrained(checkpoint)
    ids = jnp.zeros((1, 1), jnp.int32)
    made = jax.eval_shape(lambda: T5(config).init(jax.random.key(0), ids, ids == 0, ids)["params"])
    assert jax.tree.structure(made) == jax.tree.structure(params)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("relative_attention_num_buckets", 1, "is 1; it has to be at least 4"),
        ("relative_attention_num_buckets", 3, "is 3; it has to be at least 4"),
        ("relative_attention_max_distance", 16, "is 16; it has to be at least 17"),
        ("decoder_start_token_id", 10**30, "no T5 has more than 10,000,000"),
        ("decoder_start_token_id", 50, "is 50; it has to be below vocab_size, 50"),
        ("eos_token_id", 50, "is 50; it has to be below vocab_size, 50"),
        ("num_layers", 10**6, "is 1000000; no T5 has more than 1,000"),
        ("d_model", 10**30, "no T5 has more than 10,000,000"),
        ("d_model", True, "is true; it has to be a whole number"),
        ("d_model", [1], "is [1]; it has to be a whole number"),
        ("dropout_rate", "x" * 1000, "..."),
    ],
)
def test_numbers_that_cannot_be_are_named(folder, key, value, message):
    (folder / "config.json").write_text(json.dumps({**RECIPE.CONFIG, key: value}))
    text = refusal(folder)
    assert f"config.json, {key}: is " in text
    assert message in text
    assert len(text) < 400


def test_a_tensor_in_two_shards_is_refused(folder, weights):
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    parts = {"a.safetensors": names[:5], "b.safetensors": names[4:]}  # the fifth in both
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in parts.items() for name in part}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert f"the tensor {names[4]} is in a.safetensors and in b.safetensors" in refusal(folder)


@pytest.mark.parametrize("shards", [{"a": ["x"]}, {"a": {}}, {"a": None}, ["a"], {}, None, 5])
def test_an_index_of_another_form_is_named(folder, shards):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert "model.safetensors.index.json, weight_map: does not name" in refusal(folder)
