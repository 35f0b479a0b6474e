"""The Python API: `from common.runs import prepare, train, open_run`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np

from common.configs.making import make_config
from common.data.folder import PrepareSettings, check_place, write_dataset
from common.data.options import check_kind, check_options
from common.data.readers.sources import SOURCES, SourceOptions, read_source
from common.errors import InputError
from common.files import take_path
from common.runs.config_file import load_config_file
from common.runs.finished import FinishedRun, open_run
from common.runs.methods import find_method, settle, suggest_key
from common.runs.run import run_method
from common.settings.fields import list_settings
from common.settings.reading import check_value, refuse_group

__all__ = ["open_run", "prepare", "train"]


def prepare(
    out: str | Path, *, say: Callable[[str], None] = lambda _: None, **options: Any
) -> Path:
    """Makes a dataset folder, as `launch.prepare` does; returns its path.

    out:     the folder, which appears when it is complete
    say:     is told the steps
    options: the flags of the command, as source="tables", raw="my_logs", seed=1, overwrite=True;
        a list of texts where the flag takes commas

    >>> prepare("datasets/tiny", source="synthetic", preset="tiny").name
    'tiny'

    Raises InputError for bad input, WriteError.
    """
    known = get_type_hints(SourceOptions) | get_type_hints(PrepareSettings)
    for name in options.keys() - known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"use {', '.join(sorted(known))}"
        raise InputError(f"prepare: no option {name!r}; {hint}")
    place = take_path("prepare: out", out)
    given = {name: check_kind(name, known[name], _plain(value)) for name, value in options.items()}
    try:
        source = SourceOptions(**_take(SourceOptions, given))
        if source.source in SOURCES:
            check_options(given, source.source)
        settings = PrepareSettings(**_take(PrepareSettings, given))
        check_place(place, settings.overwrite)
        write_dataset(place, read_source(source, say=say), settings, say=say)
    except InputError as error:  # names the flags of the command; here they are arguments
        words = re.sub(rf"--(out|{'|'.join(known)})\b", r"\1", str(error))
        raise InputError(words) from error.__cause__
    return place


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
        package from any folder; or settings of a method; or a ConfigDict with every key; or a
        mapping, as {"method": "lcr"}, whose missing keys have their defaults
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
    place = take_path("train: workdir", workdir)
    if isinstance(config, str | Path):
        config = load_config_file(str(config))
    config = make_config(settle(config, (lambda keys: None) if type(config) is dict else None))
    known = list_settings(find_method(config.method).settings)
    folder = {"data.path": str(take_path("train: data", data))} if data != "" else {}
    for key, value in (folder | keys).items():
        refuse_group(key, known, value)
        if key not in known:
            raise InputError(f"config.{key}: no such key; {suggest_key(key, known)}")
        config.update_from_flattened_dict({key: check_value(known[key], value)})
    if run_method(config, place.resolve(), tensorboard=tensorboard) >= 128:
        raise KeyboardInterrupt(f"{place}: stopped and saved; train again to go on")
    return open_run(place)


def _take(kind: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are fields of a dataclass."""
    return {field.name: options[field.name] for field in fields(kind) if field.name in options}


def _plain(value: Any) -> Any:
    """A path as text, and a number of numpy as Python's."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value
