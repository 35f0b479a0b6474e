"""Weights of a T5 v1.1 or Flan-T5 checkpoint in the Hugging Face layout, without torch.

A folder holds `config.json` and either `model.safetensors` or `model.safetensors.index.json` with
the shards that it names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors import SafetensorError, safe_open

from common.bounds import check_regular
from common.errors import InputError
from common.json_files import read_json
from common.printable import printable
from gensr_jax.t5 import T5, T5Config
from gensr_jax.t5_layers import EPSILON

# A T5 is of v1.1 if one of them is false. Files saved by transformers 5 have the second: the first
# is then always true, and a head that is equal to the shared table is not stored.
TIED, SCALED = "tie_word_embeddings", "scale_decoder_outputs"
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
# What a key of config.json has to be, and what it is where it is missing.
REQUIRED = {
    "model_type": ("t5", None),
    "feed_forward_proj": ("gated-gelu", "relu"),
    TIED: (False, True),
    "layer_norm_epsilon": (EPSILON, EPSILON),
}
SIZE_KEYS = {
    "vocab_size": "vocab_size",
    "width": "d_model",
    "heads": "num_heads",
    "head_width": "d_kv",
    "ff_width": "d_ff",
    "encoder_layers": "num_layers",
    "decoder_layers": "num_decoder_layers",
    "buckets": "relative_attention_num_buckets",
    "max_distance": "relative_attention_max_distance",
}
# Beyond these a file is damaged, and the memory would not do.
LARGEST, MOST = 10_000_000, {"encoder_layers": 1000, "decoder_layers": 1000}
TOKEN_KEYS = {"pad": "pad_token_id", "eos": "eos_token_id", "start": "decoder_start_token_id"}
# The place of a sub-layer in its block, and its name.
SUB_LAYERS = {
    ("encoder", "attention"): (0, "SelfAttention"),
    ("encoder", "feed"): (1, "DenseReluDense"),
    ("decoder", "attention"): (0, "SelfAttention"),
    ("decoder", "cross"): (1, "EncDecAttention"),
    ("decoder", "feed"): (2, "DenseReluDense"),
}
SHARED = "shared.weight"
HEAD = "lm_head.weight"
COPIES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # of the shared table
NUMBERS = ("F64", "F32", "F16", "BF16")
_AGAIN = "download the file again"
_SHOWN = 120  # characters of a name, or of the library's words, in a message
LISTED = 20  # names of tensors in one message, of each kind


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor is and what it is, before it is read."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str

    def read(self) -> np.ndarray:
        """The tensor as float32."""
        with safe_open(self.file, "numpy") as file:
            return np.asarray(file.get_tensor(self.name)).astype(np.float32)


def load_pretrained(directory: str | Path) -> tuple[T5Config, dict[str, Any]]:
    """Reads a checkpoint folder.

    directory: with config.json and safetensors, in one file or in shards; float32, bfloat16, ...
    Returns the configuration (compute dtype float32: use `dataclasses.replace` for another) and the
    parameters of `T5`, float32 NumPy arrays.
    Raises InputError for a folder or a file that is missing or damaged, another architecture (the
    key is named) and missing, unknown or misshapen tensors (listed by name).
    """
    config, stored, copies = find_tensors(Path(directory))
    params = {}
    for path, shape in parameter_shapes(config).items():
        # Read into its place: there is never more than one tensor beside the parameters.
        params[path] = np.empty(shape, np.float32)
        for name, place in find_places(path, shape).items():
            values = stored[name].read()
            params[path][place] = values.T if _is_turned(name, values.shape) else values
    for copy in copies:
        if not np.array_equal(copy.read(), params["shared",]):
            raise InputError(
                f"{copy.file}: {copy.name} differs from {SHARED}; "
                "use a checkpoint with one table for encoder and decoder"
            )
    return config, unflatten_dict(params)


def find_tensors(
    folder: Path,
) -> tuple[T5Config, dict[str, StoredTensor], list[StoredTensor]]:
    """The tensors of a checkpoint by name, and copies of the shared table; no numbers are read.

    Raises InputError as `load_pretrained`, save for copies that differ.
    """
    config, head_may_miss = read_config(folder)
    stored: dict[str, StoredTensor] = {}
    for file in find_files(folder):
        for tensor in _list_tensors(file):
            if (other := stored.get(tensor.name)) is not None:
                raise InputError(
                    f"{folder}: the tensor {tensor.name} is in {other.file.name} and in "
                    f"{file.name}; download the checkpoint again"
                )
            stored[tensor.name] = tensor
    copies = [stored.pop(name) for name in COPIES if name in stored]
    if SHARED not in stored and copies:
        stored[SHARED] = copies[0]
    if HEAD not in stored and SHARED in stored and head_may_miss:
        stored[HEAD] = stored[SHARED]
    _check_layers(folder, config, stored)
    _check_tensors(folder, stored, tensor_shapes(config))
    return config, stored, copies


def read_config(folder: Path) -> tuple[T5Config, bool]:
    """The configuration in a checkpoint folder's config.json, and whether the head may be missing.

    Raises InputError for another architecture and for sizes that cannot be; the key is named.
    """
    path = folder / "config.json"
    keys = read_json(path, "name a folder with a T5 checkpoint, or download the file again")
    head_may_miss = keys.get(SCALED) is False
    if head_may_miss:
        keys[TIED] = False
    for key, (wanted, default) in REQUIRED.items():
        if (found := keys.get(key, default)) != wanted:
            shown = _show(found) if key in keys else f"missing ({json.dumps(default)})"
            raise InputError(
                f"{path}, {key}: is {shown}, not {json.dumps(wanted)}; "
                "use a checkpoint of T5 v1.1 or Flan-T5"
            )
    keys = {
        "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128,
        "dropout_rate": 0.1,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "decoder_start_token_id": 0,
        **{key: value for key, value in keys.items() if value is not None},
    }
    keys.setdefault("num_decoder_layers", keys.get("num_layers"))
    fields: dict[str, Any] = {}
    for lowest, names in ((1, SIZE_KEYS), (0, TOKEN_KEYS)):
        for field, key in names.items():
            fields[field] = keys.get(key)
            if type(fields[field]) is not int or fields[field] < lowest:
                raise InputError(
                    f"{path}, {key}: is {_show(fields[field])}; "
                    f"it has to be a whole number of at least {lowest}"
                )
            if fields[field] > MOST.get(field, LARGEST):
                raise InputError(
                    f"{path}, {key}: is {_show(fields[field])}; no T5 has more than "
                    f"{MOST.get(field, LARGEST):,}"
                )
    for field, key in TOKEN_KEYS.items():
        if fields[field] >= fields["vocab_size"]:
            raise InputError(
                f"{path}, {key}: is {fields[field]}; it has to be below vocab_size, "
                f"{fields['vocab_size']}"
            )
    # The encoder halves the buckets for the two sides, and half of those have one distance each.
    for key, least in (("buckets", 4), ("max_distance", fields["buckets"] // 2 + 1)):
        if fields[key] < least:
            raise InputError(
                f"{path}, {SIZE_KEYS[key]}: is {fields[key]}; it has to be at least {least}"
            )
    dropout = keys["dropout_rate"]
    if type(dropout) not in (int, float) or not 0 <= dropout < 1:
        raise InputError(f"{path}, dropout_rate: is {_show(dropout)}; it has to be in [0, 1)")
    return T5Config(**fields, dropout=float(dropout)), head_may_miss


def parameter_shapes(config: T5Config) -> dict[tuple[str, ...], tuple[int, ...]]:
    """The shape of every parameter of `T5`, by its path in the tree; nothing is computed."""
    ids, mask = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1), bool)
    tree = jax.eval_shape(lambda: T5(config).init(jax.random.key(0), ids, mask, ids)["params"])
    return {path: leaf.shape for path, leaf in flatten_dict(tree).items()}


def tensor_shapes(config: T5Config) -> dict[str, tuple[int, ...]]:
    """The shape in the tree of every tensor of a checkpoint, by its name."""
    return {
        name: shape[1:] if _is_stacked(path) else shape
        for path, shape in parameter_shapes(config).items()
        for name in find_places(path, shape)
    }


def find_places(path: tuple[str, ...], shape: tuple[int, ...]) -> dict[str, Any]:
    """A checkpoint's tensors that make up the parameter at a path, and where each is in it.

    Of the layers' parameters, which are stacked, each layer's has a name of its own.
    """
    if _is_stacked(path):
        return {_name_tensor(path, layer): layer for layer in range(shape[0])}
    return {_name_tensor(path): ...}


def _is_stacked(path: tuple[str, ...]) -> bool:
    return "layers" in path


def _name_tensor(path: tuple[str, ...], layer: int = 0) -> str:
    match path:
        case ("shared",):
            return SHARED
        case ("head",):
            return HEAD
        case (stack, "relative_bias"):
            return f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        case (stack, "final_norm", _):
            return f"{stack}.final_layer_norm.weight"
        case (stack, "layers", part, leaf):
            place, name = SUB_LAYERS[stack, part.removesuffix("_norm")]
            inside = "layer_norm" if part.endswith("_norm") else f"{name}.{leaf}"
            return f"{stack}.block.{layer}.layer.{place}.{inside}.weight"
    raise ValueError(f"no parameter of T5: {path}")


def _is_turned(name: str, shape: tuple[int, ...]) -> bool:
    """Linear layers are stored [out, in]; tables are as they are here."""
    return len(shape) == 2 and name != SHARED and not name.endswith("attention_bias.weight")


def _check_layers(folder: Path, config: T5Config, stored: Iterable[str]) -> None:
    """Raises InputError for far more layers than the weights have: of a thousand nobody reads."""
    for stack, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        blocks = {name.split(".")[2] for name in stored if name.startswith(f"{stack}.block.")}
        if layers > len(blocks) + LISTED:
            key = SIZE_KEYS[f"{stack}_layers"]
            raise InputError(
                f"{folder / 'config.json'}, {key}: is {layers}, the weights have {len(blocks)}; "
                "config.json and weights have to be of one T5 v1.1 or Flan-T5 checkpoint"
            )


def _check_tensors(
    folder: Path, stored: dict[str, StoredTensor], wanted: dict[str, tuple[int, ...]]
) -> None:
    """Raises one InputError that lists all tensors with a fault, if there are any.

    wanted: the shape that each tensor has in the tree
    """
    faults: dict[str, list[str]] = {
        "missing": sorted(wanted.keys() - stored.keys()),
        "unknown": sorted(stored.keys() - wanted.keys()),
        "misshapen": [],
        "of another dtype": [],
    }
    for name in sorted(wanted.keys() & stored.keys()):
        tensor, shape = stored[name], wanted[name]
        shape = shape[::-1] if _is_turned(name, shape) else shape
        if tensor.shape != shape:
            faults["misshapen"].append(f"{name}: {list(tensor.shape)} instead of {list(shape)}")
        elif tensor.dtype not in NUMBERS:
            faults["of another dtype"].append(f"{name}: {tensor.dtype}")
    texts = []
    for fault, names in faults.items():
        if names:
            more = f", and {len(names) - LISTED} more" if len(names) > LISTED else ""
            shown = ", ".join(printable(name[:_SHOWN], keep="") for name in names[:LISTED])
            texts.append(f"{len(names)} {fault} ({shown}{more})")
    if texts:
        raise InputError(
            f"{folder}, tensors: {', '.join(texts)}; "
            "config.json and weights have to be of one T5 v1.1 or Flan-T5 checkpoint"
        )


def find_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, ascending by name. Raises InputError."""
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if not (folder / INDEX).exists():
        raise InputError(
            f"{folder}: has neither {SINGLE} nor {INDEX}; "
            "download the checkpoint's safetensors files into it"
        )
    shards = read_json(folder / INDEX, _AGAIN).get("weight_map")
    names = list(shards.values()) if isinstance(shards, dict) else []
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise InputError(
            f"{folder / INDEX}, weight_map: does not name the shard of every tensor; "
            "download the file again"
        )
    return [folder / name for name in sorted(set(names))]


def _list_tensors(file: Path) -> Iterator[StoredTensor]:
    check_regular(file, _AGAIN)
    try:
        with safe_open(file, "numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (no mapping)
                part = tensors.get_slice(name)
                yield StoredTensor(file, name, tuple(part.get_shape()), part.get_dtype())
    except (OSError, SafetensorError) as error:
        reason = printable(str(error)[:_SHOWN], keep="")  # it shows what the file says
        raise InputError(f"{file}: cannot be read ({reason}); {_AGAIN}") from error


def _show(value: Any) -> str:
    """A JSON value, cut, for an error."""
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:60] + "..."
