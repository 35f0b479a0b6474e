"""The form of a dataset folder's manifest, `dataset.json`: what a reader of one relies on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.data.keys import HISTORY_ORDERS
from common.data.schema import TABLES, VOCABULARIES
from common.errors import InputError
from common.json_files import check_kind

_AGAIN = "prepare the dataset again"
_NAME = re.compile(r"\w[\w.-]{0,99}")
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
    missing = sorted(set(TABLES) - set(manifest["tables"]))
    if manifest["tables"] and missing:
        raise InputError(f"{where}, key tables.{missing[0]}: missing; {_AGAIN}")
    order = manifest["history_order"]
    if order not in HISTORY_ORDERS:
        either = " or ".join(HISTORY_ORDERS)
        raise InputError(f"{where}, key history_order: is {order!r}, not {either}; {_AGAIN}")


def tell_command(path: Path, manifest: Mapping[str, Any]) -> str:
    """The command that makes a dataset folder of another version anew, as its manifest tells."""

    def entry(key: str) -> Mapping[str, Any]:
        value = manifest.get(key)
        return value if isinstance(value, Mapping) else {}

    words = ["python -m launch.prepare"]
    recipe, splits = entry("pseudo_query"), entry("splits")
    if recipe:
        words += ["--source=amazon_2014", "--raw=FOLDER_OF_THE_RAW_FILES"]
        flags = {"search_share": "search_share", "mode": "query_mode"}
        words += [f"--{flag}={recipe[key]}" for key, flag in flags.items() if key in recipe]
        switches = [name for name in ("letters_only", "drop_root") if name in recipe]
        words += [f"--{'' if recipe[name] else 'no'}{name}" for name in switches]
    elif manifest.get("sources"):
        words += ["--source=tables", "--raw=FOLDER_OF_THE_RAW_FILES"]
    else:
        words += ["--source=synthetic", f"--preset={manifest.get('name')}"]
    words.append(f"--seed={entry('seeds').get('lists', 0)}")
    kinds = [kind for lists in entry("candidates").values() for kind in lists]
    words += [f"--negatives={kind[7:]}" for kind in kinds if str(kind).startswith("uniform")][:1]
    if splits:
        words.append(f"--splits={','.join(map(str, splits))}")
    cuts = splits.get("global_time")
    if isinstance(cuts, Mapping):
        words += [f"--{name}={cuts[name]}" for name in ("t1", "t2") if name in cuts]
    if manifest.get("history_order") not in (None, "time"):
        words.append(f"--history_order={manifest['history_order']}")
    return " ".join([*words, f"--out={path}", "--overwrite"])


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
            if not _NAME.fullmatch(each):  # it is part of a path, and of messages
                raise InputError(f"{at}: holds the key {each[:40]!a}, which is no name; {_AGAIN}")
            _check_form(tree[each], inner, where, f"{key}.{each}" if key else each)
