"""Configuration at the edge: reading config files, overrides, and comparing with a workdir."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from common.errors import InputError, writing
from common.json_files import read_json, take
from launch.config_file import load_config_file
from launch.files import write_beside

# Keys of every run, whatever its method: see `common.training.mesh.read_mesh`,
# `common.training.settings.TrainSettings` and `common.training.resident.choose_columns`.
MACHINE = {"mesh": "", "accumulate": 1, "steps_per_dispatch": 1, "resident": "auto"}
# Keys that do not change a run's numbers: a run may go on with other values.
FREE_KEYS = (
    "mesh",
    "data.path",
    "eval.score_rows",
    "train.log_every_steps",
    "train.checkpoint_every_steps",
)
# Paths whose content a checkpoint knows (`Task.identities`): it may move, but not come or go.
CONTENT_KEYS = ("backbone",)
# Keys that a finished run may be evaluated with again, with other values.
EVALUATION_KEYS = ("retriever", "eval.retrieve")


def load_config(argument: str) -> ConfigDict:
    """Reads `FILE[:arg]`: calls the file's `get_config(arg)`.

    Raises InputError as `launch.config_file.load_config_file`.
    """
    config = load_config_file(argument)
    for key, value in MACHINE.items():
        if key not in config:
            config[key] = value
    return config


def take_config(argv: Sequence[str]) -> tuple[ConfigDict, list[str]]:
    """Takes `--config=FILE[:arg]` and `--config.KEY=VALUE` out of a command line.

    Returns the configuration with the overrides applied, and the rest of the command line.
    Raises InputError for a missing file, a key that does not exist (with the nearest one) or a
    value of the wrong type.
    """
    file, overrides, rest = None, [], []
    items = iter(argv)
    for item in items:
        flag, has_value, value = item.partition("=")
        flag = "-" + flag.lstrip("-") if flag.startswith("-") else flag
        if flag != "-config" and not flag.startswith("-config."):
            rest.append(item)
            continue
        if not has_value:
            value = next(items, "")
        if flag == "-config":
            file = value
        else:
            overrides.append((flag.removeprefix("-config."), value))
    if not file:
        raise InputError("--config: missing; give a file, such as --config=lcr_jax/configs/demo.py")
    config = load_config(file)
    for key, value in overrides:
        override(config, key, value)
    return config, rest


def override(config: ConfigDict, key: str, value: str) -> None:
    """Sets one dotted key from text, keeping the type of its default. Raises InputError."""
    known = flatten(config.to_dict())
    if key not in known:
        near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
        if not near:  # a right name in a wrong group
            near = [k for k in known if k.split(".")[-1] == key.split(".")[-1]]
        hint = f"did you mean config.{near[0]}?" if near else "see the config file for its keys"
        raise InputError(f"config.{key}: no such key; {hint}")
    group, name = config, key
    while "." in name:
        head, _, name = name.partition(".")
        group = group[head]
    group[name] = _parse(key, known[key], value)


def _parse(key: str, default: Any, text: str) -> Any:
    kind = type(default)
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        if kind in (tuple, list):
            items = [item for item in text.strip("()[]").split(",") if item]
            return kind(type(default[0])(i) if default else i for i in items)
        return kind(text)
    except (KeyError, ValueError):
        raise InputError(
            f"config.{key}={text}: not a {kind.__name__}; the default is {default!r}"
        ) from None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of a nested mapping."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def check_workdir(
    workdir: Path, config: ConfigDict, dataset_sha256: str, evaluates: bool = False
) -> bool:
    """Whether a workdir holds this very run already; False where it holds none.

    evaluates: nothing is trained, so `EVALUATION_KEYS` may differ
    Raises InputError naming every difference when it holds another run.
    """
    path = workdir / "config.json"
    if not path.exists():
        return False
    theirs, dataset = read_saved(path, "use another --workdir")
    # A run from before one of the keys of MACHINE was had its default.
    old, new = (MACHINE | flatten(settings) for settings in (theirs, _as_json(config)))
    free = FREE_KEYS + EVALUATION_KEYS if evaluates else FREE_KEYS
    differences = [
        f"config.{key} is {old.get(key, 'absent')!r} there and {new.get(key, 'absent')!r} here"
        for key in sorted(old.keys() | new.keys())
        if key not in free
        and old.get(key) != new.get(key)
        and not (key in CONTENT_KEYS and old.get(key) and new.get(key))
    ]
    if dataset != dataset_sha256:
        differences.append(f"the dataset is {dataset[:12]} there and {dataset_sha256[:12]} here")
    if differences:
        raise InputError(
            f"{workdir}: holds another run: {'; '.join(differences)}; "
            "use another --workdir, or the same settings to go on"
        )
    return True


def read_saved(path: Path, mend: str) -> tuple[dict[str, Any], str]:
    """The configuration and the sha256 of the dataset in a workdir's config.json.

    mend: what an error advises. Raises InputError where it cannot be read.
    """
    saved = read_json(path, mend)
    config = take(saved, "config", dict, str(path), mend)
    return config, take(saved, "dataset_sha256", str, str(path), mend)


def claim_workdir(workdir: Path, config: ConfigDict, dataset_sha256: str) -> None:
    """Writes config.json into a new workdir, or checks that an old one belongs to this run.

    Raises InputError as `check_workdir`, WriteError; nothing is overwritten.
    """
    if check_workdir(workdir, config, dataset_sha256):
        return
    path = workdir / "config.json"
    text = json.dumps({"config": _as_json(config), "dataset_sha256": dataset_sha256}, indent=1)
    with writing(path):
        workdir.mkdir(parents=True, exist_ok=True)
        write_beside(path, text + "\n")


def _as_json(config: ConfigDict) -> Any:
    return json.loads(json.dumps(config.to_dict()))  # tuples become lists, as in the file
