"""The form of a dataset folder's manifest, `dataset.json`: what a reader of one relies on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.data.keys import HISTORY_ORDERS
from common.data.schema import TABLES, VOCABULARIES
from common.errors import InputError
from common.json_files import check_kind

_AGAIN = "prepare the dataset again"
_STORED = {"*": {"sha256": str}}  # file -> its entry
# Keys with the kind of their value, or the form of a dictionary; "*" is any key.
_FORM: dict[str, Any] = {
    "name": str,
    "sha256": str,
    "history_order": str,
    "splits": {"*": {"files": _STORED}},
    "candidates": {"*": {"*": _STORED}},
    "tables": _STORED,
}
# As above; may be missing.
_OPTIONAL: dict[str, Any] = {
    "vocab": {"*": int},
    "time": {},
    "no_repeats": bool,
}


def check_manifest(where: str, manifest: Mapping[str, Any]) -> None:
    """Raises InputError naming the key that is missing or of another kind.

    where: the file that an error names
    """
    _check_form(manifest, _FORM, where, "")
    present = {key: form for key, form in _OPTIONAL.items() if key in manifest}
    _check_form(manifest, present, where, "")
    for key, known in (("tables", TABLES), ("vocab", tuple(VOCABULARIES))):
        for name in sorted(set(manifest.get(key, {})) - set(known)):
            raise InputError(f"{where}, key {key}.{name}: is none of {', '.join(known)}; {_AGAIN}")
    order = manifest["history_order"]
    if order not in HISTORY_ORDERS:
        either = " or ".join(HISTORY_ORDERS)
        raise InputError(f"{where}, key history_order: is {order!r}, not {either}; {_AGAIN}")


def _check_form(tree: Any, form: Any, where: str, key: str) -> None:
    """Checks a value against a kind or a form; key: of the value, "" = the whole manifest."""
    at = f"{where}, key {key}" if key else where
    check_kind(tree, dict if isinstance(form, dict) else form, at, _AGAIN)
    if isinstance(tree, str) and not tree.isprintable():
        raise InputError(f"{at}: has characters that cannot be printed; {_AGAIN}")
    if not isinstance(form, dict):
        return
    for name, inner in form.items():
        if name != "*" and name not in tree:
            raise InputError(f"{where}, key {key}{'.' if key else ''}{name}: missing; {_AGAIN}")
        for each in tree if name == "*" else [name]:
            _check_form(tree[each], inner, where, f"{key}.{each}" if key else each)
