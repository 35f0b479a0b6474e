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

from common.data.fingerprint import find_differences, read_parts, select_parts, sum_up
from common.errors import InputError
from common.files import make_folder, write_beside
from common.json_files import read_json, take
from common.locks import only_writer
from common.runs.methods import find_method, find_stored
from common.runs.workdirs import is_finished
from common.settings.groups import RunSettings
from common.settings.reading import as_values, flatten, read_settings
from common.settings.roles import describe_evaluation, find_roles, newer_defaults

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
    config: Any  # the settings of its method
    data: dict[str, Any]  # what it was trained on, see `common.data.fingerprint.describe_data`


def check_workdir(
    workdir: Path,
    settings: RunSettings,
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
    roles, new = find_roles(settings), flatten(as_values(settings))
    old = newer_defaults(find_method(settings.method).settings) | flatten(theirs)
    differences = [
        f"config.{key} is {old.get(key, 'absent')!r} there and {new.get(key, 'absent')!r} here"
        for key in sorted(old.keys() | new.keys())
        if (role := roles.get(key, "run")) != "free"
        and not (role == "judge" and evaluates)
        and old.get(key) != new.get(key)
        and not (role == "content" and old.get(key) and new.get(key))
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


def _warn(line: str, kind: str = "note") -> None:
    print(f"{kind}: {line}", file=sys.stderr)


def claim_workdir(
    workdir: Path, settings: RunSettings, data: Mapping[str, Any], lists: Collection[str] = ()
) -> None:
    """Writes config.json into a new workdir, or checks that an old one belongs to this run.

    Raises InputError as `check_workdir`, WriteError; nothing is overwritten.
    """
    if check_workdir(workdir, settings, data, lists=lists):
        return
    path = workdir / "config.json"
    text = json.dumps({"config": as_values(settings), "dataset": data}, indent=1)
    make_folder(workdir)
    write_beside(path, text + "\n")


def was_judged(path: Path, settings: RunSettings, data: Mapping[str, Any]) -> bool:
    """Whether a results.json is of this dataset, its lists included, under these settings."""
    try:
        results = read_json(path, "evaluate again")
    except InputError:
        return False
    told = (results.get("evaluated_on"), results.get("evaluation"))
    return told == (data, describe_evaluation(settings)) and is_finished(path.parent)


def find_data(
    settings: RunSettings,
    given: str | Path = "",
    *,
    where: Path | None = None,
    mend: str = "a folder made by launch.prepare",
) -> Path:
    """The dataset folder that is given, else that of the settings. where: the file they stand in

    Raises InputError where there is neither.
    """
    if not (given or settings.data.path):
        file = "" if where is None else f"{where}: "
        raise InputError(f"{file}config.data.path: missing; give {mend}")
    return Path(given or settings.data.path)


def open_folder(name: str, workdir: Path) -> RunFolder:
    """Reads a run's config.json. Keys that the run did not know yet get their defaults, with a
    warning. Raises InputError where there is none that can be read."""
    path = workdir / "config.json"
    if not path.exists():
        raise InputError(f"{workdir}: is no run (no config.json); train it first")
    values, data = read_run(path)
    method = take(values, "method", str, str(path), "use another run")
    try:
        tree = find_stored(method).settings
    except InputError as error:
        raise InputError(f"{path}: {error}") from error

    def fill(missing: list[str]) -> None:
        known = newer_defaults(tree)
        if older := [key for key in missing if key not in known]:
            _warn(f"{path}: older than {', '.join(older)}; default values are used", "warning")

    config = read_settings(tree, values, fill=fill, where=str(path))
    return RunFolder(name, workdir, config, data)
