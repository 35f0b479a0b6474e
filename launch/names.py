"""What people call the ids of a dataset: raw ids, titles, query texts."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from common.data.dataset import Dataset
from common.errors import InputError


class User(NamedTuple):
    """A user under both names."""

    raw_id: str  # as in the data that the dataset was made from
    number: int  # dense id, 1..n_users


class Names:
    """Readable names, read from the Parquet tables of a dataset folder."""

    def __init__(self, dataset: Dataset) -> None:
        items = _read(dataset.path, "items", ["raw_id", "title"])
        queries = _read(dataset.path, "queries", ["text", "tok"])
        self._words: list[str] = _read(dataset.path, "tokens", ["word"])["word"]
        self._item_ids: list[str] = items["raw_id"]
        self._titles: list[str | None] = items["title"]
        self._texts: list[str | None] = queries["text"]
        self._tokens: list[list[int]] = queries["tok"]

    def item(self, item: int) -> dict[str, Any]:
        """{"item": dense id, "raw_id", "title": None where the dataset has none}."""
        return {
            "item": item,
            "raw_id": self._item_ids[item - 1],
            "title": self._titles[item - 1] or None,
        }

    def query(self, query: int) -> str:
        """The text of a query; else its words; else its number."""
        words = " ".join(self._words[token - 1] for token in self._tokens[query - 1])
        return self._texts[query - 1] or words or f"query {query}"


def resolve_users(dataset: Dataset, text: str) -> list[User]:
    """The users of `--users=ID,ID,...`, each once, in the order given.

    An ID is the raw id of the dataset's source (users.parquet, column raw_id), or "#17" for the
    dense id 17. Raises InputError for an empty list or an id that is not there.
    """
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if not ids:
        raise InputError("--users: names nobody; give ids as --users=ID,ID,... (#17 = dense id 17)")
    raw: list[str] = _read(dataset.path, "users", ["raw_id"])["raw_id"]
    numbers = {name: number for number, name in enumerate(raw, 1)}
    users = {}
    for name in ids:
        number = numbers.get(name)
        if number is None and name[:1] == "#" and name[1:].isdecimal():
            number = int(name[1:])
            if not 1 <= number <= len(raw):
                raise InputError(f"--users: no user {name}; dense ids go from #1 to #{len(raw)}")
        if number is None:
            near = difflib.get_close_matches(name, raw, 1) or raw[:1]
            raise InputError(
                f"--users: no user {name!r} in {dataset.path / 'users.parquet'}; "
                f"did you mean {near[0]!r}? (raw ids; #17 = dense id 17)"
            )
        users[number] = User(raw[number - 1], number)
    return list(users.values())


def _read(path: Path, table: str, columns: list[str]) -> dict[str, list[Any]]:
    read = pq.read_table(path / f"{table}.parquet", columns=columns)
    return {name: read[name].to_pylist() for name in columns}
