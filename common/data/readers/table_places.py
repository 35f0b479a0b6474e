"""Which file of a folder is which table; what only looks like one is named and refused."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

from common.data.readers.table_faults import Faults
from common.errors import InputError

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet")
_READABLE = "use .csv, .tsv, .jsonl (each maybe with .gz) or .parquet"


def find_suffix(path: Path) -> str | None:
    """The ending of a name, in lower case, if it is one of `SUFFIXES`."""
    name = path.name.lower()
    return next((end for end in sorted(SUFFIXES, key=len)[::-1] if name.endswith(end)), None)


def find_tables(
    raw: Path, names: Sequence[str], required: Sequence[str], faults: Faults
) -> tuple[dict[str, Path], list[str]]:
    """The file, or the folder of Parquet files, of each table; and notes on what is not read.

    names:    of the tables
    required: those that must be there
    faults:   told of a table that is missing or stands twice, and of everything that looks like a
              table and is none: `search.csv`, `searches.xlsx`, a folder `items.csv`
    Raises InputError if there is no such folder.
    """
    if not raw.is_dir():
        raise InputError(f"{raw}: no such folder; check --raw")
    try:
        entries = sorted(path for path in raw.iterdir() if path.name[0] not in ".~")
    except OSError as error:
        raise InputError(f"{raw}: cannot be read ({error.strerror}); check --raw") from error
    stems = {path: path.name.split(".")[0] for path in entries}
    found: dict[str, Path] = {}
    refused: set[str] = set()  # tables that something stands for, though it cannot be read
    for name in names:
        whole = [path for path in entries if _is_table(path, name)]
        if len(whole) > 1:
            both = " and ".join(path.name for path in whole)
            faults.tell(f"{raw}: has {both}; remove all but one")
        if whole:
            found[name] = whole[0]
        for path in entries:
            if stems[path].lower() == name and path not in whole:
                faults.tell(f"{path}: {_explain(path, name)}")
                refused.add(name)
    notes = []
    missing = [name for name in names if name not in found and name not in refused]
    for path in entries:
        if path in found.values() or stems[path].lower() in names:
            continue
        near = _find_near(stems[path], missing)
        if near:
            faults.tell(f"{path}: not known, did you mean {near}? rename it")
            refused.add(near)
        elif find_suffix(path):
            notes.append(f"{path.name}: not read")
    for name in required:
        if name not in found and name not in refused:
            faults.tell(
                f"{raw}: has neither {name}.csv nor {name}.parquet; add one, or "
                f"{name}.tsv or {name}.jsonl, each maybe with .gz"
            )
    return found, notes


def list_parts(folder: Path, faults: Faults) -> list[Path]:
    """The Parquet files of a folder that Spark, DuckDB or others wrote, by path.

    Names that begin with "_" or "." (`_SUCCESS`) hold no rows; faults is told of other files that
    are no Parquet files, and of a folder without any.
    """
    parts = []
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] not in "_.")
        for name in sorted(name for name in files if name[0] not in "_."):
            path = Path(place) / name
            if name.lower().endswith(".parquet") and path.is_file():
                parts.append(path)
            else:
                faults.tell(f"{path}: is no Parquet file, as the folder's are; remove it")
    if not parts:
        faults.tell(f"{folder}: holds no Parquet files; fill it")
    return parts


def _is_table(path: Path, name: str) -> bool:
    end = find_suffix(path)
    if end is None or path.name[: -len(end)] != name:
        return False
    return path.is_file() or (end == ".parquet" and path.is_dir())


def _explain(path: Path, name: str) -> str:
    """Why something with a table's name is not read, and what to do."""
    end = find_suffix(path)
    if path.is_symlink() and not path.exists():
        return "is a link that leads nowhere; remove or mend it"
    if path.is_dir():
        return f"is a folder, not a file; a folder of Parquet files is called {name}.parquet"
    if not path.is_file():
        return "is a pipe or a device, not a file; write a file"
    if end is None:
        return f"is not read, for its ending; {_READABLE}"
    return f"not known, did you mean {name}{end}? rename it"


def _find_near(stem: str, missing: Sequence[str]) -> str | None:
    """The missing table that a name seems to mean: `search_log`, `interaction`, `itmes`."""
    near = difflib.get_close_matches(stem.lower(), missing, 1, cutoff=0.7)
    if near:
        return near[0]
    words = {name: name[:-1].removesuffix("e") for name in missing}  # search, item, interaction
    return next((name for name, word in words.items() if word in stem.lower()), None)
