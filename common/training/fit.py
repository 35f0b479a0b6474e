"""Whether a checkpoint belongs to the model, the configuration and the data at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from common.data.fingerprint import AGAIN, check_parts
from common.errors import InputError
from common.training.checkpoints import IDENTITY, describe_saved
from common.training.optimizers import name_leaves
from common.training.sharding import Described, cut_rows
from common.training.task import Identity, Params, Task

DATA = "data"  # of a fingerprint: the parts of the dataset that the run hangs on, if it names any
CONFIG = "config"  # of a fingerprint: the keys of the configuration that numbers hang on
FRESH = "delete the folder to start again, or use another --workdir"
_ROWS = 20  # differences shown in one message


def check_fit(
    path: Path,
    part: str,
    expected: Described,
    saved_rows: Mapping[str, int],
    rows: Mapping[str, int],
    remedy: str = FRESH,
) -> None:
    """Compares names, shapes and dtypes of what a checkpoint holds and what is expected.

    part: "params" or "optimizer"
    saved_rows, rows: as `Progress.rows` of the checkpoint, and `Task.rows` of what is expected
    remedy: what else the message advises than the config that was used
    Raises InputError with a table of the differences, CutShort.
    """
    saved, expected = cut_rows(describe_saved(path, part), saved_rows), cut_rows(expected, rows)
    differ = [
        (name, saved.get(name), expected.get(name))
        for name in sorted({*saved, *expected})
        if saved.get(name) != expected.get(name)
    ]
    if not differ:
        return
    cells = [("name", "saved", "expected")]
    cells += [(name, _in_words(old), _in_words(new)) for name, old, new in differ[:_ROWS]]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    if len(differ) > _ROWS:
        lines.append(f"and {len(differ) - _ROWS} more")
    table = "\n".join("    " + line for line in lines)
    raise InputError(
        f"{path / part}: {len(differ)} of its arrays do not fit this model; "
        f"use the config it was made with, or {remedy}\n{table}"
    )


def check_finite(path: Path, params: Params) -> None:
    """Raises InputError naming the first parameter that has a NaN or an infinity.

    Training stops before it saves such a number, so somebody has written it since.
    """
    for name, leaf in name_leaves(params):
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not bool(_is_finite(leaf)):
            raise InputError(
                f"{path / 'params'}, parameter {name}: has numbers that are not finite; delete "
                f"{path} to go on from an earlier one, or use another --workdir"
            )


@jax.jit
def _is_finite(array: jax.Array) -> jax.Array:
    return jnp.isfinite(array).all()


def check_fingerprint(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises InputError naming the entries that differ between two fingerprints.

    Identities are left to `check_identities`.
    """
    check_data(path, saved, now.get(DATA, {}), FRESH)
    _check_equal(path, saved, now, (IDENTITY, DATA))


def check_config(path: Path, saved: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Raises InputError naming the keys of a configuration that are others than were saved.

    saved: the fingerprint of a checkpoint; keys that `config` does not have are not looked at
    """
    if config:
        there = {key: value for key, value in saved.get(CONFIG, {}).items() if key in config}
        _check_equal(path, {CONFIG: there}, {CONFIG: config})


def _check_equal(
    path: Path, saved: Mapping[str, Any], now: Mapping[str, Any], but: Sequence[str] = ()
) -> None:
    before, after = (
        _flatten({name: part for name, part in tree.items() if name not in but})
        for tree in (saved, json.loads(json.dumps(now)))
    )
    differ = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    if differ:
        shown = ", ".join(
            f"{name} was {before.get(name)!r} and is {after.get(name)!r}" for name in differ[:_ROWS]
        )
        more = f" and {len(differ) - _ROWS} more" if len(differ) > _ROWS else ""
        raise InputError(f"{path}: made by another run ({shown}{more}); {FRESH}")


def check_data(path: Path, saved: Mapping[str, Any], parts: Mapping[str, str], mend: str) -> None:
    """Raises InputError naming the part of the dataset that is another one than was saved.

    saved: the fingerprint of a checkpoint; parts: see `common.data.fingerprint`
    """
    if parts and DATA not in saved:
        raise InputError(f"{path}: {AGAIN}; {mend}")
    check_parts(f"{path}: made on other data", saved.get(DATA, {}), parts, mend)


def check_identities(path: Path, saved: Mapping[str, Any], identities: Sequence[Identity]) -> None:
    """Raises InputError naming the first identity that is another one than was saved.

    saved: the fingerprint of a checkpoint; what an older one does not hold is not looked at
    """
    known = saved.get(IDENTITY, {})
    for name, value, remedy in identities:
        if known.get(name, value) != value:
            raise InputError(
                f"{path}: its {name} is {known[name][:12]}, here it is {value[:12]}; {remedy}"
            )


def describe_identities(task: Task) -> dict[str, Any]:
    """The part of a fingerprint that holds a task's identities; nothing where it has none."""
    found = {name: value for name, value, _ in task.identities}
    return {IDENTITY: found} if found else {}


def _in_words(entry: tuple[tuple[int, ...], str] | None) -> str:
    return "-" if entry is None else f"{entry[1]} {list(entry[0])}"


def _flatten(tree: Any, name: str = "") -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {name: tree}
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat.update(_flatten(value, f"{name}.{key}" if name else str(key)))
    return flat
