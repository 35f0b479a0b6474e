"""Whether the fields of a value are what their annotations say, told in one line with the mend.

For values that other people's code makes: a NamedTuple or dataclass takes whatever it is given.
This room imports no jax.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from common.errors import InputError
from common.printable import cut

_SHOWN = 60  # characters of a value in a message
_NAMES = {int: "a whole number", float: "a finite number", bool: "True or False", str: "a text"}


def check_fields(
    where: str, value: Any, kind: Any = None, names: Mapping[str, Any] | None = None
) -> None:
    """Raises InputError unless each field of a NamedTuple or dataclass is as annotated.

    where: what the value is, for the error
    kind:  its annotated class; None = its own
    names: of annotations that are imported for type checkers only -> what they stand for
    Fields that are such values themselves are looked into, and tuples and mappings of them too.
    """
    hints = get_type_hints(kind or type(value), localns=dict(names or {}))
    for name, wanted in hints.items():
        _check(f"{where}, {name}", getattr(value, name), wanted)


def check_call(where: str, function: Callable[..., Any], count: int) -> None:
    """Raises InputError unless a function can be called with so many arguments by position."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one that does not say, such as some written in C
        return
    try:
        signature.bind(*[None] * count)
    except TypeError as error:
        raise InputError(
            f"{where}: cannot be called with {count} arguments ({error}); give a function that "
            "takes them"
        ) from error


def _check(where: str, value: Any, kind: Any) -> None:
    if get_origin(kind) in (Union, UnionType):  # of None and one other
        if value is None:
            return
        kind = next(each for each in get_args(kind) if each is not NoneType)
    if not _fits(value, kind):
        raise InputError(f"{where}: is {_show(value)}; give {_name(kind)}")
    origin, inner = get_origin(kind), get_args(kind)
    if origin is tuple:
        for place, each in enumerate(value):
            name = getattr(each, "name", None)
            if isinstance(name, str):  # "stage fit" says more than "stages 0"
                at = f"{where.rpartition(', ')[0]}, {type(each).__name__.lower()} {name}"
            else:
                at = f"{where} {place}"
            _check(at, each, inner[0])
    elif origin is Mapping:
        for key, each in value.items():
            _check(f"{where}, a key", key, inner[0])
            _check(f"{where} {key}", each, inner[1])
    elif origin is Callable and isinstance(inner[0], list):
        check_call(where, value, len(inner[0]))
    elif is_dataclass(kind) or hasattr(kind, "_fields"):
        check_fields(where, value, kind)


def _fits(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin is Any:
        return True
    if origin is Literal:
        return value in get_args(kind)
    if origin is Callable:
        return callable(value)
    if origin in (int, float):
        number = Integral if origin is int else Real
        return type(value) is not bool and isinstance(value, number) and math.isfinite(value)
    return isinstance(value, origin)


def _name(kind: Any) -> str:
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if origin is Callable:
        return "a function"
    if origin is tuple:
        return f"a tuple, each of it {_name(inner[0])}"
    if origin is Mapping:
        return f"a dict, each value of it {_name(inner[1])}"
    return _NAMES.get(origin) or _put_article(origin.__name__)


def _show(value: Any) -> str:
    if value is not None and not isinstance(value, str | bool | float):
        return _put_article(type(value).__name__)
    return cut(repr(value), _SHOWN)


def _put_article(word: str) -> str:
    return f"{'an' if word[0] in 'AEIOUaeiou' else 'a'} {word}"
