"""The methods by name: the one registry.

A method is a value in its package. One from outside of the project has no name here; its
configuration says where it is, as in `config.method = "my_package:METHOD"`.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from common.errors import InputError
from common.fields import check_call, check_fields
from common.json_files import name_kind
from common.settings import reading
from common.settings.fields import Setting, check_tree, list_settings
from common.settings.groups import RunSettings
from common.settings.reading import read_settings
from common.settings.roles import newer_defaults

if TYPE_CHECKING:
    from common.runs.workload import Workload
    from common.training.task import Task

# Where each is: reading a configuration imports the package, which must not start jax.
PLACES = {
    "lcr": "lcr_jax:METHOD",
    "gensr": "gensr_jax:METHOD",
    "sasrec": "baselines_jax:SASREC",
    "item_knn": "baselines_jax:ITEM_KNN",
}


class Explainer(NamedTuple):
    """How a method tells what a trained model of it does for single users."""

    # open(trained, mesh, names, filter_seen, count) -> a function from a case to its explanation,
    # with `count` recommended items
    open: Callable[..., Callable[..., Any]]
    tell: Callable[..., str]  # tell(explanation) -> text of at most 100 columns
    draw: Callable[..., None]  # draw(path, explanation) makes a picture


class Method(NamedTuple):
    """What a method package offers."""

    settings: RunSettings  # every key with its default
    # build(settings, dataset) -> the task. Raises InputError naming a key that cannot be.
    build: Callable[..., Task]
    explain: Callable[[], Explainer] | None = None  # a call, as it imports jax
    # name -> module with measure(request), format_table(results) and draw(path, results)
    studies: Mapping[str, str] = MappingProxyType({})
    # Random work that its speed is measured by; a call, as it imports jax
    workload: Callable[[], Workload] | None = None


def find_method(name: Any) -> Method:
    """The method of a `config.method`. Raises InputError where there is none."""
    if not isinstance(name, str | None):
        kind = "a group" if isinstance(name, Mapping) else name_kind(name)
        raise InputError(f"config.method: is {kind}; set it to a name, {_either()}")
    if not name:
        raise InputError(f"config.method: missing; set it in the config file to {_either()}")
    place = PLACES.get(name, name if ":" in name else "")
    if not place:
        near = difflib.get_close_matches(name, PLACES, 1)
        mend = f"did you mean {near[0]}?" if near else f"use {_either()}"
        raise InputError(f"config.method: no method {name[:40]!r}; {mend}")
    module, _, attribute = place.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"config.method = {name}: cannot be had ({error}); give it as module:NAME, with the "
            "module's folder in PYTHONPATH"
        ) from error
    if not isinstance(found, Method):
        raise InputError(f"config.method = {name}: is no Method, see common/runs/methods.py")
    # What these stand for imports jax, which reading a configuration must not.
    unread = dict.fromkeys(("Task", "Workload"), object)
    check_fields(f"config.method = {name}", found, names=unread)
    check_call(f"config.method = {name}, build", found.build, 2)
    check_tree(found.settings)
    return found


def find_stored(name: Any) -> Method:
    """The method that a file of a run names. Raises InputError, also for one from outside of the
    project that nobody has imported yet: a file must not say which code runs."""
    if isinstance(name, str) and name not in PLACES and name.partition(":")[0] not in sys.modules:
        near = ", ".join(PLACES)
        raise InputError(
            f"config.method: {name[:40]!r} is unknown; use {near}; for a method of your own give "
            "--config=FILE, or import it first"
        )
    return find_method(name)


def settle(config: Any, fill: Callable[[list[str]], None] | None = None) -> RunSettings:
    """The settings of a configuration, every value checked; settings are returned as they are.

    config: a nested mapping or ConfigDict with the key `method`
    fill:   as of `read_settings`
    Keys that stand in no group may be missing and have their defaults. Raises InputError.
    """
    if isinstance(config, RunSettings):
        return config
    if not (isinstance(config, Mapping) or hasattr(config, "to_dict")):
        raise InputError(
            f"config is {name_kind(config)}; give FILE[:arg], such as lcr_jax/configs/demo.py, "
            "settings of a method, or a mapping of keys"
        )
    tree = find_method(config.get("method")).settings
    values = to_dict(config) if hasattr(config, "to_dict") else dict(config)
    return read_settings(tree, newer_defaults(tree) | values, fill=fill, suggest=suggest_key)


def to_dict(config: Any, where: str = "the configuration") -> dict[str, Any]:
    """The values of a ConfigDict. Raises InputError for a key that is no text."""
    try:
        values: dict[str, Any] = config.to_dict()
    except TypeError:  # it sorts its keys
        raise InputError(f"{where}: has a key that is no text; give each a name") from None
    return values


def suggest_key(key: str, known: Mapping[str, Setting]) -> str:
    """What to do about a key that a method does not have; it may be another method's."""
    others = {name: list_settings(find_method(name).settings) for name in PLACES}
    owners = [
        name
        for name, own in others.items()
        if key in own or any(each.startswith(f"{key}.") for each in own)
    ]
    if owners and key not in known:
        return f"it is a key of {' and '.join(owners)}, the method is {known['method'].default}"
    return reading.suggest_key(key, known)


def _either() -> str:
    return " or ".join(map(repr, PLACES))
