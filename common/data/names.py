"""What people call the ids of a dataset: raw ids, titles, query texts."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from common.data.dataset import Dataset
from common.data.texts import read_columns, read_query_texts, read_titles
from common.errors import InputError


class User(NamedTuple):
    """A user under both names."""

    raw_id: str  # as in the data that the dataset was made from
    number: int  # dense id, 1..n_users


class Names:
    """Readable names, read from the Parquet tables of a dataset folder."""

    def __init__(self, dataset: Dataset) -> None:
        [self._item_ids] = read_columns(dataset.path, "items", "raw_id")
        self._titles = read_titles(dataset.path)
        self._queries = read_query_texts(dataset.path)

    def item(self, item: int) -> dict[str, Any]:
        """{"item": dense id, "raw_id", "title": None where the dataset has none}."""
        return {
            "item": item,
            "raw_id": self._item_ids[item - 1],
            "title": self._titles[item - 1],
        }

    def query(self, query: int) -> str:
        """The text of a query; else its words; else its number."""
        return self._queries[query - 1] or f"query {query}"


def resolve_users(dataset: Dataset, text: str) -> list[User]:
    """The users of `--users=ID,ID,...`, each once, in the order given; ids as `find_users` reads
    them. A raw id with a comma is given as its dense id.

    Raises InputError for an empty list or an id that is not there.
    """
    ids = [part.strip() for part in text.split(",") if part.strip()]
    if not ids:
        raise InputError("--users: names nobody; give ids as --users=ID,ID,... (#17 = dense id 17)")
    return list(dict.fromkeys(find_users(dataset, ids, "--users")))


def find_users(dataset: Dataset, ids: Sequence[str], where: str) -> list[User]:
    """The users of some ids, in the order given.

    ids:   raw ids of the dataset's source (users.parquet, column raw_id), exactly as they stand
           there; "#17" is the dense id 17 where no raw id is written so
    where: what an error names
    Raises InputError for an id that is not there.
    """
    raw: list[str]
    [raw] = read_columns(dataset.path, "users", "raw_id")
    numbers = {name: number for number, name in enumerate(raw, 1)}
    users = []
    for name in ids:
        number = numbers.get(name)
        if number is None and name[:1] == "#" and name[1:].isdecimal():
            number = int(name[1:])
            if not 1 <= number <= len(raw):
                raise InputError(f"{where}: no user {name}; dense ids go from #1 to #{len(raw)}")
        if number is None:
            near = difflib.get_close_matches(name, raw, 1) or raw[:1]
            raise InputError(
                f"{where}: no user {name!r} in {dataset.path / 'users.parquet'}; "
                f"did you mean {near[0]!r}? (raw ids; #17 = dense id 17, as for one with a comma)"
            )
        users.append(User(raw[number - 1], number))
    return users
