"""Whether a configuration has every key that its method needs, of the right kind."""

from __future__ import annotations

import importlib
from typing import Any

from ml_collections import ConfigDict

from common.errors import InputError
from common.json_files import name_kind
from launch.config import MACHINE, flatten

# The config that has every key of a method.
BASES = {
    "lcr": "lcr_jax.configs.base",
    "gensr": "gensr_jax.configs.base",
    "sasrec": "baselines_jax.configs.base_sasrec",
    "item_knn": "baselines_jax.configs.item_knn_demo",
}
_LARGEST_SEED = 2**63 - 1  # an int64, which is what hashes and checkpoints hold


def base_values(method: str) -> dict[str, Any]:
    """Dotted key -> default of a method of `BASES`; nothing for another one."""
    if method not in BASES:
        return {}
    return flatten(importlib.import_module(BASES[method]).get_config().to_dict())


def check_keys(config: ConfigDict) -> None:
    """Raises InputError naming a key that is missing or of another kind, or a seed that cannot be.

    A method that there is not is left to `launch.methods.build_task`.
    """
    values = flatten(config.to_dict())
    method = values.get("method")
    if not isinstance(method, str):
        what = "missing" if method is None else f"is {name_kind(method)}"
        raise InputError(f"config.method: {what}; set it in the config file to {_either()}")
    place = BASES.get(method, "").replace(".", "/") + ".py"
    machine = {key: value for key, value in MACHINE.items() if key in values}  # old runs lack some
    for key, default in {**base_values(method), **machine}.items():
        if key not in values:
            raise InputError(f"config.{key}: missing; add it to the config file, as in {place}")
        if not _is_like(default, values[key]):
            raise InputError(
                f"config.{key}: is {name_kind(values[key])}; give a value like {default!r}, as in "
                f"{place}"
            )
    seed = values.get("seed", 0)
    if type(seed) is not int or not 0 <= seed <= _LARGEST_SEED:
        raise InputError(
            f"config.seed = {seed}: is no seed; give a whole number from 0 to {_LARGEST_SEED}"
        )


def _either() -> str:
    return " or ".join(map(repr, BASES))


def _is_like(default: Any, value: Any) -> bool:
    if isinstance(default, tuple | list):
        return isinstance(value, tuple | list)
    if type(default) is float:
        return type(value) in (int, float)
    if type(default) is int and type(value) is float:
        return value.is_integer()  # a run may have been made with 1.0 for 1
    return type(value) is type(default)
