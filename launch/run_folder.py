"""A run's folder: what its config.json says, and whether it belongs to the run at hand.

config.json     {"config": every key, "dataset": what it was trained on}
.lock           while a process writes into the folder, see `common.locks`
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from common.data.fingerprint import find_differences, read_parts, select_parts, sum_up
from common.errors import InputError
from common.json_files import read_json, take
from common.locks import only_writer
from launch.config import (
    CONTENT_KEYS,
    FREE_KEYS,
    MACHINE,
    as_json,
    describe_evaluation,
    flatten,
    is_evaluation_key,
)
from launch.config_keys import base_values, check_keys
from launch.files import make_folder, write_beside
from launch.workdirs import is_finished

LOCK = ".lock"
_THE_SAME = "use another --workdir, or the same settings to go on"
_TRAINED_ON = (
    "give the dataset that it was trained on by --config.data.path, or judge it on this one by "
    "--mode=evaluate --evaluate_on=DIR"
)


class RunFolder(NamedTuple):
    """A workdir that `launch.main` has trained, and the name it has in a study."""

    name: str
    workdir: Path
    config: ConfigDict
    data: dict[str, Any]  # what it was trained on, see `common.data.fingerprint.describe_data`


def check_workdir(
    workdir: Path,
    config: ConfigDict,
    data: Mapping[str, Any],
    *,
    lists: Collection[str] = (),
    evaluates: bool = False,
) -> dict[str, Any] | None:
    """Whether a workdir holds this very run already.

    data:      the dataset, see `common.data.fingerprint.describe_data`; its tables, history rule
               and split must be those of the run
    lists:     names of the lists that the run is judged by in training; they too
    evaluates: nothing is trained, so evaluation keys may differ
    Returns what the run was trained on, as `data`; None where the workdir holds no run.
    Raises InputError naming every difference when it holds another run.
    """
    path = workdir / "config.json"
    if not path.exists():
        return None
    theirs, trained_on = read_run(path)
    # A run from before one of the keys of MACHINE was had its default.
    old, new = (MACHINE | flatten(settings) for settings in (theirs, as_json(config)))
    differences = [
        f"config.{key} is {old.get(key, 'absent')!r} there and {new.get(key, 'absent')!r} here"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE_KEYS
        and not (evaluates and is_evaluation_key(key))
        and old.get(key) != new.get(key)
        and not (key in CONTENT_KEYS and old.get(key) and new.get(key))
    ]
    there, here = (select_parts(part["parts"], lists=lists) for part in (trained_on, data))
    other_data = find_differences(there, here)
    if other_data:
        differences.append(sum_up(other_data))
    if differences:
        mend = _TRAINED_ON if evaluates and other_data else _THE_SAME
        raise InputError(f"{workdir}: holds another run: {'; '.join(differences)}; {mend}")
    return trained_on


def read_run(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings of a config.json, and what the run was trained on (as `describe_data`).

    Raises InputError where it cannot be read, or is older than the parts of a dataset.
    """
    mend = "use another --workdir"
    saved = read_json(path, mend)
    settings = take(saved, "config", dict, str(path), mend)
    read_parts(saved.get("dataset"), str(path), "train again, with another --workdir")
    return settings, take(saved, "dataset", dict, str(path), mend)


def select_settings(settings: Mapping[str, Any], *, evaluates: bool = False) -> dict[str, Any]:
    """The keys of a configuration that the numbers of a run hang on, for a checkpoint to keep.

    settings: nested, as `as_json` gives them; evaluates: without those that only judge
    Of keys whose content has an identity of its own only whether they are set.
    """
    return {
        key: bool(value) if key in CONTENT_KEYS else value
        for key, value in flatten(settings).items()
        if key not in FREE_KEYS and not (evaluates and is_evaluation_key(key))
    }


@contextmanager
def holding(workdir: Path) -> Iterator[None]:
    """Inside the block this process alone writes into a workdir, which is made if need be.

    What a killed process has left half-written is cleared. Raises InputError naming the process
    that is at work there, WriteError where nothing can be written.
    """
    lock = make_folder(workdir) / LOCK
    with only_writer(lock, str(workdir), "use another --workdir", say=_warn):
        for left in (*workdir.glob("*.tmp"), *workdir.glob("checkpoints/*.tmp")):
            with suppress(OSError):
                left.unlink()
        yield


def _warn(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


def claim_workdir(
    workdir: Path, config: ConfigDict, data: Mapping[str, Any], lists: Collection[str] = ()
) -> None:
    """Writes config.json into a new workdir, or checks that an old one belongs to this run.

    Raises InputError as `check_workdir`, WriteError; nothing is overwritten.
    """
    if check_workdir(workdir, config, data, lists=lists):
        return
    path = workdir / "config.json"
    text = json.dumps({"config": as_json(config), "dataset": data}, indent=1)
    make_folder(workdir)
    write_beside(path, text + "\n")


def was_judged(path: Path, config: ConfigDict, data: Mapping[str, Any]) -> bool:
    """Whether a results.json is of this dataset, its lists included, under these settings."""
    try:
        results = read_json(path, "evaluate again")
    except InputError:
        return False
    told = (results.get("evaluated_on"), results.get("evaluation"))
    return told == (data, describe_evaluation(config)) and is_finished(path.parent)


def open_folder(name: str, workdir: Path) -> RunFolder:
    """Reads a run's config.json. Keys that the run did not know yet get their defaults, with a
    warning. Raises InputError where there is none that can be read."""
    from launch.methods import METHODS  # imports jax, which `launch.sweep` need not wait for

    path = workdir / "config.json"
    if not path.exists():
        raise InputError(f"{workdir}: is no run (no config.json); train it first")
    settings, data = read_run(path)
    method = take(settings, "method", str, str(path), "use another run")
    if method not in METHODS:
        raise InputError(
            f"{path}, key method: {method[:40]!r} is unknown; use {', '.join(METHODS)}"
        )
    try:
        config = ConfigDict(MACHINE | settings)
    except (ValueError, AttributeError) as error:  # a key with a dot, or "__class__"
        raise InputError(f"{path}: is no configuration ({error}); use another run") from None
    missing = _add_defaults(config, method, path)
    if missing:
        print(
            f"warning: {path}: older than {', '.join(missing)}; default values are used",
            file=sys.stderr,
        )
    check_keys(config)
    return RunFolder(name, workdir, config, data)


def _add_defaults(config: ConfigDict, method: str, path: Path) -> list[str]:
    """Adds keys of the method's base config that are missing; returns them.

    path: what an error names. Raises InputError where a group of keys is something else.
    """
    known = base_values(method)
    missing = sorted(known.keys() - flatten(config.to_dict()).keys())
    for key in missing:
        group, name = config, key
        while "." in name:
            head, _, name = name.partition(".")
            if head not in group:
                group[head] = ConfigDict()
            group = group[head]
            if not isinstance(group, ConfigDict):
                raise InputError(f"{path}, key {key}: has no group to stand in; use another run")
        if name in group:
            raise InputError(f"{path}, key {key}: is a group of keys; use another run")
        group[name] = known[key]
    return missing
