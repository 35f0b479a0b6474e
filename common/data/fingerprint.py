"""What makes a dataset the one it is, in named parts; a run hangs on some of them.

    tables                              all tables: the manifest's sha256
    vocabulary.<table>                  users, items, queries, tokens: what a model's ids stand for
    history                             the rule that says what a history holds
    split.<split>                       its rows and its settings, such as cut times
    list.<split>.<kind>.<task>.<part>   one file of candidate lists

They are made of `dataset.json`, whose hashes are verified when a dataset is loaded: two folders
with equal parts hold the same. Training hangs on tables, history, split and the lists it is
judged by; an evaluation may have other lists, and stores their hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from typing import Any

from common.data.dataset import Dataset
from common.data.schema import VOCABULARIES
from common.errors import InputError

Parts = dict[str, str]  # name -> sha256

TRAINING = ("tables", "history", "split")  # kinds of parts that every use of a trained model needs
AGAIN = "made by an older version, which did not store its split, history rule and lists"
_REPORTED = ("counts", "positives", "unused")  # of a split's entry: they follow from its rows
_SHOWN = 12  # hexadecimal digits of a hash


def make_parts(manifest: Mapping[str, Any], split: str) -> Parts:
    """The parts of a dataset folder with one of its splits. manifest: `dataset.json`."""
    about = {key: part for key, part in manifest["splits"][split].items() if key not in _REPORTED}
    parts = {
        "tables": str(manifest["sha256"]),
        **{f"vocabulary.{name}": manifest["tables"][name]["sha256"] for name in VOCABULARIES},
        # A click is seen from its own time on, in either order.
        "history": _hash({"order": manifest["history_order"], "clicks": "own time"}),
        f"split.{split}": _hash(about),
    }
    for kind, files in sorted(manifest["candidates"].get(split, {}).items()):
        for name, entry in sorted(files.items()):
            task, _, part = name.partition("_")
            parts[name_list(split, kind, task, part)] = entry["sha256"]
    return parts


def describe_data(dataset: Dataset) -> dict[str, Any]:
    """{"name", "split", "parts"}: a dataset as config.json and results.json store it."""
    return describe_folder(dataset.manifest, dataset.split)


def describe_folder(manifest: Mapping[str, Any], split: str) -> dict[str, Any]:
    """As `describe_data`, without reading any table."""
    return {"name": manifest["name"], "split": split, "parts": make_parts(manifest, split)}


def name_list(split: str, kind: str, task: str, part: str) -> str:
    """The name of the part that is one file of lists."""
    return f"list.{split}.{kind}.{task}.{part}"


def select_parts(
    parts: Mapping[str, str], kinds: Collection[str] = TRAINING, lists: Collection[str] = ()
) -> Parts:
    """The parts of these kinds ("tables", "split", ...), and the lists of these names."""
    return {
        name: value
        for name, value in parts.items()
        if name.partition(".")[0] in kinds or name in lists
    }


def find_differences(theirs: Mapping[str, str], ours: Mapping[str, str]) -> list[str]:
    """What differs between two fingerprints, in words, the part that others follow from first.

    Each line is like "the split global_time is 9bbb27e5b1c2 there and 0f3c66a1d2e4 here".
    """
    there, here = _find_split(theirs), _find_split(ours)
    found = []
    names = list(dict.fromkeys((*ours, *theirs)))
    if there != here:  # and with it everything of the split
        names = [name for name in names if not name.startswith(("split.", "list."))]
        found = [f"the split is {there or 'not stored'} there and {here or 'not stored'} here"]
    told = [
        f"{_in_words(name)} {_shorten(theirs.get(name))} there and {_shorten(ours.get(name))} here"
        for name in names
        if theirs.get(name) != ours.get(name)
    ]
    return told + found


def check_parts(where: str, theirs: Mapping[str, str], ours: Mapping[str, str], mend: str) -> None:
    """Raises InputError "where: the split ... is ... there and ... here; mend" where parts differ.

    ours: the parts that matter, see `select_parts`; others of `theirs` are not looked at
    """
    kept = {name: value for name, value in theirs.items() if name in ours or _is_split(name)}
    if found := find_differences(kept, ours):
        raise InputError(f"{where}: {sum_up(found)}; {mend}")


def find_other_lists(theirs: Mapping[str, str], ours: Mapping[str, str]) -> str:
    """One line on lists that are others than those of training; "" where all are the same."""
    found = find_differences(select_parts(theirs, ["list"]), select_parts(ours, ["list"]))
    return f"lists: not those of training: {sum_up(found)}" if found else ""


def find_elsewhere(results: Mapping[str, Any]) -> list[str]:
    """How the data that a results.json was judged on differs from what was trained on, if it does.

    Without lists: other lists do not make another test of the same model.
    """
    entries = (results.get(key, {}) for key in ("trained_on", "evaluated_on"))
    return find_differences(*(select_parts(entry.get("parts", {})) for entry in entries))


def sum_up(found: Collection[str]) -> str:
    """The first of the differences, and how many more there are: they often follow from it."""
    first, *rest = found
    return first + (f" (and {len(rest)} more)" if rest else "")


def read_parts(entry: Any, where: str, mend: str) -> Parts:
    """The parts of an entry that `describe_data` made and a file stored.

    Raises InputError where there are none: the file is older than they are.
    """
    parts = entry.get("parts") if isinstance(entry, Mapping) else None
    if not isinstance(parts, Mapping) or "tables" not in parts:
        raise InputError(f"{where}: {AGAIN}; {mend}")
    return {str(name): str(value) for name, value in parts.items()}


def _find_split(parts: Mapping[str, str]) -> str:
    return next((name.partition(".")[2] for name in parts if _is_split(name)), "")


def _is_split(name: str) -> bool:
    return name.startswith("split.")


def _in_words(name: str) -> str:
    kind, _, rest = name.partition(".")
    if kind == "list":
        _, lists, task, part = rest.split(".")
        return f"the list {lists} of {task} {part} is"
    return {
        "tables": "the tables are",
        "vocabulary": f"the table {rest} is",
        "history": "the history rule is",
        "split": f"the split {rest} is",
    }.get(kind, f"{name} is")


def _shorten(value: str | None) -> str:
    return "absent" if value is None else value[:_SHOWN]


def _hash(settings: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
