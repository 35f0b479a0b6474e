"""The readers of models: our checkpoints, and T5 folders in the Hugging Face layout."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax.traverse_util import flatten_dict
from outcomes import Content, Reader

from common.training.checkpoints import Checkpoints
from common.training.mesh import make_mesh
from common.training.restore import load_trained, restore_newest
from common.training.sharding import place_shapes
from common.training.state import Progress, TrainState
from common.training.task import Task
from gensr_jax.t5_weights import SIZE_KEYS, TOKEN_KEYS, find_places, load_pretrained
from gensr_jax.tokens import open_checkpoint_tokens

TESTS = Path(__file__).resolve().parents[1]
PRINT = {"config": {"width": 4}, "dataset": "abc"}
STEPS = (10, 20, 30)


@cache
def _import(path: str) -> ModuleType:
    """A module of the tests beside these."""
    name = f"fuzz_{Path(path).stem}"
    spec = importlib.util.spec_from_file_location(name, TESTS / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _make_params(number: int) -> dict[str, jax.Array]:
    """As many random numbers as are stored by themselves: Orbax puts few beside its own index."""
    table = jax.random.normal(jax.random.key(number), (256, 8))
    return {"table": table, "bias": -jnp.arange(3, dtype=jnp.float32) - number / 3}


def _make_state(number: int) -> TrainState:
    mu = jax.random.uniform(jax.random.key(number + 1), (256, 8))
    return TrainState(jnp.int32(number), _make_params(number), ({"mu": mu}, (), jnp.int32(number)))


def _write_checkpoints(folder: Path) -> None:
    with Checkpoints(folder / "checkpoints") as checkpoints:
        for step in STEPS:
            progress = Progress(stage_name="fit", step=step, best_step=20, best_value=0.5)
            checkpoints.save(_make_state(step), progress, PRINT)


def _to_arrays(tree: Any) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def _restore(folder: Path) -> Content:
    """What a run goes on from."""
    mesh = make_mesh(jax.devices()[:1])
    with Checkpoints(folder / "checkpoints") as checkpoints:
        found = restore_newest(checkpoints, lambda _: place_shapes(_make_state(0), mesh, {}), PRINT)
    if found is None:
        return Content(None)
    state, progress = found
    return Content([_to_arrays((state.step, state.params, state.opt_state)), progress.to_json()])


@cache
def _make_task() -> Task:
    """One object, so that what jax has compiled for it is found again."""
    tiny = _import("common/training/tiny_run.py")
    task: Task = tiny.make_task(tiny.make_stage())
    return task._replace(init=lambda key, batch: (_make_params(0), {}))


def _load_trained(folder: Path) -> Content:
    """What an evaluation judges."""
    batch = {"user": np.zeros(8, np.int32)}
    mesh = make_mesh(jax.devices()[:1])
    params, _, progress = load_trained(_make_task(), batch, folder, 0, mesh)
    return Content([_to_arrays(params), progress.to_json()])


def _write_t5(folder: Path) -> None:
    _import("launch/flan_folder.py").write_flan(folder)


def _read_t5(folder: Path) -> Content:
    config, params = load_pretrained(folder)
    fields = {name: getattr(config, name) for name in (*SIZE_KEYS, *TOKEN_KEYS, "dropout")}
    tensors = {
        name: values[place]
        for path, values in flatten_dict(params).items()  # type: ignore[no-untyped-call]
        for name, place in find_places(path, values.shape).items()
    }
    return Content([fields, {name: values.shape for name, values in tensors.items()},
                    {name: _sort(values) for name, values in tensors.items()}])  # fmt: skip


def _sort(values: np.ndarray) -> np.ndarray:
    """Linear layers are turned when they are read: their numbers, in one order."""
    return np.sort(np.asarray(values, np.float32).ravel())


def _read_plain_t5(folder: Path) -> Any:
    keys = json.loads((folder / "config.json").read_bytes().decode())
    defaults = {"relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
                "num_decoder_layers": keys["num_layers"], "pad_token_id": 0, "eos_token_id": 1,
                "decoder_start_token_id": 0, "dropout_rate": 0.1}  # fmt: skip
    keys = defaults | {key: value for key, value in keys.items() if value is not None}
    fields = {name: keys[key] for name, key in (SIZE_KEYS | TOKEN_KEYS).items()}
    fields["dropout"] = float(keys["dropout_rate"])
    content = (folder / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    kinds = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "BF16": ml_dtypes.bfloat16}
    shapes, tensors = {}, {}
    for name, about in header.items():
        if name == "__metadata__":
            continue
        start, end = about["data_offsets"]
        values = np.frombuffer(data[start:end], kinds[about["dtype"]]).reshape(about["shape"])
        turned = values.ndim == 2 and name != "shared.weight" and "attention_bias" not in name
        shapes[name] = values.shape[::-1] if turned else values.shape
        tensors[name] = _sort(values)
    return [fields, shapes, tensors]


def _read_tokens(folder: Path) -> Content:
    vocabulary = open_checkpoint_tokens(folder)
    texts = ["the user: item 7", "Yes", "No", "", "a\u00e9 x\ny" * 20]
    ids = vocabulary.tokenizer.get_vocab(with_added_tokens=False)
    return Content(ids, [vocabulary.sha256, vocabulary.size, vocabulary.encode_all(texts)])


def _read_plain_tokens(folder: Path) -> Any:
    model = json.loads((folder / "tokenizer.json").read_bytes().decode())["model"]
    return {piece: number for number, (piece, _) in enumerate(model["vocab"])}


READERS = [
    Reader("checkpoints: go on", _write_checkpoints, _restore, checksummed=True, restore=True),
    Reader("checkpoints: evaluate", _write_checkpoints, _load_trained, checksummed=True,
           restore=True),
    Reader("T5 config and safetensors", _write_t5, _read_t5,
           lambda name: name != "tokenizer.json", second=_read_plain_t5),
    Reader("T5 tokenizer", _write_t5, _read_tokens, lambda name: name == "tokenizer.json",
           second=_read_plain_tokens),
]  # fmt: skip
