"""What may be told to `launch.prepare` and to `common.runs.prepare`, by the same bounds."""

from __future__ import annotations

from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin

from common.errors import InputError

# Options that only one source understands; given with another they would do nothing.
_ONLY_FOR = {
    "preset": "synthetic",
    "click_window": "tables",
    "columns": "tables",
    "list_separator": "tables",
    "add_missing_items": "tables",
    "category": "amazon_2014",
    "order": "amazon_2014",
    "search_share": "amazon_2014",
    "query_mode": "amazon_2014",
    "letters_only": "amazon_2014",
    "drop_root": "amazon_2014",
}
_WANTED = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list of texts",
}


def check_options(given: Mapping[str, Any], source: str) -> None:
    """Raises InputError, which names a flag, for options that do not go together or lie outside of
    their bounds. given: the options that were given, by name, each of its kind"""
    for name, only in _ONLY_FOR.items():
        if name in given and source != only:
            raise InputError(f"--{name}: is for --source={only} only; leave it out")
    if source == "synthetic" and given.get("truth"):
        raise InputError("--truth: synthetic data knows its own; leave it out")
    if source == "synthetic" and given.get("raw"):
        raise InputError("--raw: synthetic data has no raw files; leave it out")
    if source != "synthetic" and not given.get("raw"):
        raise InputError("--raw: missing; give the folder of the raw files")
    seed = given.get("seed", 0)
    if seed < 0:
        raise InputError(f"--seed={seed}: is negative; use 0 or more")
    if seed >= 2**63:
        raise InputError(f"--seed={seed}: is too large; use one below 2^63")
    for name in ("t1", "t2"):
        if given.get(name) is not None and "global_time" not in given.get("splits", ()):
            raise InputError(f"--{name}: is for the split global_time only; add it to --splits")


def check_kind(name: str, kind: Any, value: Any) -> Any:
    """The value of an option, of the kind that its field says; a list becomes a tuple.

    kind: bool, int, float, str or tuple[str, ...], or one of them | None
    Raises InputError naming the option.
    """
    kinds = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if value is None and type(None) in kinds:
        return None
    wanted = get_origin(kinds[0]) or kinds[0]
    if wanted is tuple and isinstance(value, list):
        value = tuple(value)
    if wanted is float and type(value) is int:
        value = float(value)
    texts = wanted is not tuple or (
        isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    )
    if type(value) is not wanted or not texts:
        raise InputError(f"{name}={value!r}: give {_WANTED[wanted]}")
    return value
