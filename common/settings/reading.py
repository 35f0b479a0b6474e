"""Values into a tree of settings and out of it: config files, config.json, the command line."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

from common.errors import InputError
from common.json_files import name_kind
from common.printable import cut
from common.settings.fields import Setting, list_settings

Tree = TypeVar("Tree")
_SHOWN = 60  # characters of a key or value in a message
_WORDS = {"true": True, "1": True, "false": False, "0": False}


def read_settings(
    tree: Tree,
    values: Any,
    *,
    fill: Callable[[list[str]], None] | None = None,
    where: str = "the config file",
    suggest: Callable[[str, Mapping[str, Setting]], str] | None = None,
) -> Tree:
    """The tree with the values of a configuration, every one of them checked.

    tree:   its values are the defaults
    values: a nested mapping or ConfigDict; a tree of the same class is returned as it is
    fill:   is told the keys that are missing, which get their defaults; None = none may be
    where:  what an error names
    suggest: suggest(key, known) -> what to do about a key that there is not; None = `suggest_key`
    Raises InputError naming a key that is missing, unknown, of another kind, or out of its bounds.
    """
    if isinstance(values, type(tree)):
        return values
    flat = flatten(values.to_dict() if hasattr(values, "to_dict") else values)
    known = list_settings(tree)
    for name in [name for name, value in flat.items() if value == {} and _inside(name, known)]:
        del flat[name]  # of an empty group its keys are missing
    missing = [key for key in known if key not in flat]
    for key in missing:
        if any(name.startswith(f"{key}.") for name in flat):
            raise InputError(f"config.{key}: is a group of keys in {where}; make it a value")
        if any(key.startswith(f"{name}.") for name in flat):
            raise InputError(f"config.{key}: has no group to stand in in {where}; mend it")
    unknown = [key for key in flat if key not in known]
    if unknown:
        key = cut(unknown[0], _SHOWN)
        mend = (suggest or suggest_key)(unknown[0], known)
        raise InputError(f"config.{key}: no such key in {where}; {mend}")
    if missing and fill is None:
        setting = known[missing[0]]
        raise InputError(
            f"config.{setting.key}: missing in {where}; give {setting.wanted}, "
            f"such as {setting.default!r}"
        )
    if missing and fill is not None:
        fill(missing)
    return _fill(tree, {key: check_value(known[key], value) for key, value in flat.items()}, "")


def check_group(group: Any) -> None:
    """Raises InputError for a value of a group, or a tree, that is not what its field allows."""
    for each in list_settings(group).values():
        check_value(each, each.default)


def check_value(setting: Setting, value: Any) -> Any:
    """The value as its setting's kind. Raises InputError for another kind, and out of bounds."""
    kind = setting.kind
    if kind is float and type(value) is int:
        with suppress(OverflowError):  # one too large stays what it is, and is refused
            value = float(value)
    elif kind is int and type(value) is float and value.is_integer():
        value = int(value)  # a run may have been made with 1.0 for 1
    if type(value) is not kind or not setting.allows(value):
        raise InputError(
            f"config.{setting.key} = {_show(value)}: give {setting.wanted} "
            f"(the default is {_show(setting.default)})"
        )
    return value


def parse_value(setting: Setting, text: str) -> Any:
    """The value that a text on the command line stands for. Raises InputError as `check_value`."""
    value: Any = text
    try:
        if setting.kind is bool:
            value = _WORDS.get(text.lower(), text)
        elif setting.kind in (int, float):
            value = setting.kind(text)
    except ValueError:
        pass  # a text where a number is wanted
    return check_value(setting, value)


def refuse_group(key: str, known: Mapping[str, Setting], value: Any = None) -> None:
    """Raises InputError for the name of a group, which is no key. value: what was given for it"""
    inside = _inside(key, known)
    meant = [f"{key}.{name}" for name in value] if isinstance(value, Mapping) else []
    if inside:
        first = next((name for name in meant if name in inside), inside[0])
        raise InputError(f"config.{key}: is a group; give config.{first}=...")


def _inside(group: str, known: Mapping[str, Setting]) -> list[str]:
    return [name for name in known if name.startswith(f"{group}.")]


def suggest_key(key: str, known: Mapping[str, Setting]) -> str:
    """ "did you mean config.model.width?" for a key that there is not."""
    near = difflib.get_close_matches(key, known, 1, cutoff=0.5)
    if not near:  # a right name in a wrong group
        near = [name for name in known if name.split(".")[-1] == key.split(".")[-1]]
    return f"did you mean config.{near[0]}?" if near else "--help_config lists the keys"


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of a nested mapping. A group without a key is a value."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def as_values(tree: Any) -> dict[str, Any]:
    """The nested values of a tree of settings, as config.json has them."""
    values = {}
    for each in fields(tree):
        value = getattr(tree, each.name)
        if is_dataclass(value):
            values[each.name] = as_values(value)
        elif "rule" in each.metadata:
            values[each.name] = value
    return values


def take_fields(kind: type[Tree], *groups: Any, **more: Any) -> Tree:
    """A `kind` with the fields that the groups have too: `take_fields(Optimizer, settings.train)`.

    A later group goes before an earlier one, and `more` before all.
    """
    found: dict[str, Any] = {}
    for each in fields(kind):  # type: ignore[arg-type]
        for group in groups:
            if hasattr(group, each.name):
                found[each.name] = getattr(group, each.name)
    return kind(**(found | more))


def _fill(group: Tree, values: Mapping[str, Any], prefix: str) -> Tree:
    changes = {}
    for each in fields(group):  # type: ignore[arg-type]
        key, value = prefix + each.name, getattr(group, each.name)
        if is_dataclass(value):
            changes[each.name] = _fill(value, values, f"{key}.")
        elif key in values:
            changes[each.name] = values[key]
    return replace(group, **changes)  # type: ignore[type-var]


def _show(value: Any) -> str:
    if isinstance(value, int) and abs(value) >= 10**_SHOWN:
        return "a number of too many digits"  # Python does not even write those of thousands
    if isinstance(value, Mapping):
        return "a group"
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return cut(repr(value), _SHOWN)
    return repr(value) if isinstance(value, bool) else name_kind(value)
