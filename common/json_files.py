"""JSON files that somebody else may have written: read whole, or refused with one line.

`json.loads` alone ends in a traceback for bytes that are no UTF-8, for a hundred thousand open
brackets and for a list where a dictionary is expected. Source: ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from common.bounds import DEEPEST, LARGEST_TEXT, check_regular, check_values
from common.errors import InputError
from common.printable import cut

_NAMES = {dict: "an object", list: "a list", str: "a text", int: "a whole number",
          float: "a number", bool: "true or false", type(None): "null"}  # fmt: skip
_SHOWN = 40  # characters of a value in a message


def read_text(path: Path, mend: str) -> str:
    """The text of a file. mend: the end of an error's line, what to do about a bad file.

    Raises InputError for a file that is missing, cannot be read, is too large, or is not UTF-8.
    """
    check_regular(path, mend)
    try:
        size = path.stat().st_size
        if size > LARGEST_TEXT:
            raise InputError(f"{path}: has {size:,} bytes, more than {LARGEST_TEXT:,}; {mend}")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, byte {error.start + 1}: is not UTF-8; {mend}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {mend}") from None


def read_json(path: Path, mend: str) -> dict[str, Any]:
    """The object in a JSON file. Raises InputError as `read_text` and `parse_json`."""
    return parse_json(read_text(path, mend), str(path), mend)


def read_json_lines(path: Path, mend: str) -> Iterator[dict[str, Any]]:
    """The objects of a file that has one on each line. Raises InputError naming the row."""
    for row, line in enumerate(read_text(path, mend).removesuffix("\n").split("\n"), 1):
        yield parse_json(line, f"{path}, row {row}", mend)


def parse_json(text: str, where: str, mend: str) -> dict[str, Any]:
    """The object that a JSON text holds.

    where: the file (and row) that an error names
    Raises InputError for another text, one beyond the bounds of `common.bounds`, and for a value
    that is no object.
    """
    try:
        check_values(text)
        content = json.loads(text, object_pairs_hook=make_object)
    except RecursionError:
        raise InputError(f"{where}: is nested too deep for this kind of file; {mend}") from None
    except json.JSONDecodeError as error:
        at = f"{where}, line {error.lineno}" if "\n" in text else where
        raise InputError(f"{at}: is no JSON ({error.msg}, column {error.colno}); {mend}") from None
    except ValueError as error:  # too many values, a key twice, a number of 4,300 digits
        raise InputError(f"{where}: is no JSON ({error}); {mend}") from None
    check_depth(content, where, mend)
    if not isinstance(content, dict):
        raise InputError(f"{where}: is {name_kind(content)}, not an object; {mend}")
    return content


def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of its keys and values. Raises ValueError for a key that stands twice: which of
    the two holds is another program's choice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("has a key twice")
    return made


def take(tree: Mapping[str, Any], key: str, kinds: type | tuple[type, ...], where: str, mend: str
         ) -> Any:  # fmt: skip
    """The value at a dotted key, such as "splits.global_time", which must be of a kind.

    A bool is no int, and an int is a float. Raises InputError naming file and key.
    """
    value: Any = tree
    done: list[str] = []
    for name in key.split("."):
        if not isinstance(value, Mapping):
            at = f"{where}, key {'.'.join(done)}"
            raise InputError(f"{at}: is {name_kind(value)}, not an object; {mend}")
        done.append(name)
        if name not in value:
            raise InputError(f"{where}, key {'.'.join(done)}: missing; {mend}")
        value = value[name]
    check_kind(value, kinds, f"{where}, key {key}", mend)
    return value


def check_kind(value: Any, kinds: type | tuple[type, ...], where: str, mend: str) -> None:
    """Raises InputError unless a value is of one of the kinds; see `take`."""
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    if type(value) in kinds or (type(value) is int and float in kinds):
        return
    wanted = " or ".join(_NAMES.get(kind, kind.__name__) for kind in kinds)
    raise InputError(f"{where}: is {name_kind(value)}, not {wanted}; {mend}")


def check_depth(content: Any, where: str, mend: str) -> None:
    """Raises InputError for a value that is nested deeper than `DEEPEST`."""
    if is_deeper(content, DEEPEST):
        raise InputError(f"{where}: is nested deeper than {DEEPEST} levels; {mend}")


def is_deeper(content: Any, levels: int) -> bool:
    """Whether lists and objects stand within each other more than `levels` deep."""
    level = [content] if isinstance(content, dict | list) else []
    for _ in range(levels):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def name_kind(value: Any) -> str:
    """ "a list", "null", "the text 'abc'": what a JSON value is, for an error."""
    name = _NAMES.get(type(value), type(value).__name__)
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        shown = repr(value) if not isinstance(value, int) or abs(value) < 10**20 else "long"
        return f"{name.replace('a ', 'the ', 1)} {cut(shown, _SHOWN)}"
    return name
