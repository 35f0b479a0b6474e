"""The Python API: `from common.runs import prepare, train, open_run`."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from common.configs.making import make_config
from common.data.folder import PrepareSettings, check_place, write_dataset
from common.data.readers.sources import SourceOptions, read_source
from common.errors import InputError
from common.runs.config_file import load_config_file
from common.runs.finished import FinishedRun, open_run
from common.runs.methods import find_method, settle
from common.runs.run import run_method
from common.settings.fields import list_settings
from common.settings.reading import check_value, suggest

__all__ = ["open_run", "prepare", "train"]


def prepare(
    out: str | Path, *, say: Callable[[str], None] = lambda _: None, **options: Any
) -> Path:
    """Makes a dataset folder, as `launch.prepare` does; returns its path.

    out:     the folder, which appears when it is complete
    say:     is told the steps
    options: the flags of the command, as source="tables", raw="my_logs", seed=1, overwrite=True

    >>> prepare("datasets/tiny", source="synthetic", preset="tiny").name
    'tiny'

    Raises InputError for bad input, WriteError.
    """
    kinds = (SourceOptions, PrepareSettings)
    known = {field.name for kind in kinds for field in fields(kind)}
    for name in options.keys() - known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(sorted(known))}"
        raise InputError(f"prepare: no option {name!r}; {hint}")
    source = SourceOptions(**_take(SourceOptions, options))
    settings, out = PrepareSettings(**_take(PrepareSettings, options)), Path(out)
    check_place(out, settings.overwrite)
    write_dataset(out, read_source(source, say=say), settings, say=say)
    return out


def train(
    config: Any,
    *,
    workdir: str | Path,
    data: str | Path = "",
    tensorboard: bool = False,
    **keys: Any,
) -> FinishedRun:
    """Trains and evaluates a method, or goes on where it was stopped; returns the finished run.

    config: "FILE[:arg]", such as "lcr_jax/configs/tiny.py:no_gate", which is found in the installed
        package from any folder; or settings of a method; or a configuration
    data:   the dataset folder; "" = that of the configuration
    keys:   other values of single keys, as **{"train.epochs": 2}

    >>> run = train("lcr_jax/configs/tiny.py", data="datasets/tiny", workdir="runs/tiny",
    ...             **{"train.epochs": 1})  # doctest: +ELLIPSIS
    data    tiny ...
    >>> run.settings.train.epochs
    1

    Prints the report. Raises InputError for bad input, FloatingPointError where a loss or a score
    is not finite, WriteError, KeyboardInterrupt where a signal has stopped it after saving.
    """
    if isinstance(config, str | Path):
        config = load_config_file(str(config))
    config = make_config(settle(config))
    known = list_settings(find_method(config.method).settings)
    for key, value in (({"data.path": str(data)} if data else {}) | keys).items():
        if key not in known:
            raise InputError(f"config.{key}: no such key; {suggest(key, known)}")
        config.update_from_flattened_dict({key: check_value(known[key], value)})
    place = Path(workdir)
    if run_method(config, place.resolve(), tensorboard=tensorboard) >= 128:
        raise KeyboardInterrupt(f"{place}: stopped and saved; train again to go on")
    return open_run(place)


def _take(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are fields of a dataclass; a list becomes a tuple."""
    found = {field.name: options[field.name] for field in fields(kind) if field.name in options}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in found.items()}
