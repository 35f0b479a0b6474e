"""An order file: one user a line, raw user id and then raw item ids from first to last.

Review times are days, so the order inside a day is the file's to tell; papers' leave-one-out
numbers depend on it. The public sequence files of Beauty have the order that a stable sort of the
reviews by time gives, for each of its 22,363 users: an order file is for data whose published order
is another.

Shapes: [E] purchases
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from common.data.readers.table_faults import show_id, show_value
from common.data.readers.text_lines import read_lines
from common.data.vocabulary import find_ids
from common.errors import InputError


def place_in_order(
    path: Path,
    users: pa.Array,
    items: pa.Array,
    user: np.ndarray,
    item: np.ndarray,
    ts: np.ndarray,
) -> tuple[np.ndarray, int]:
    """Where the order file has each purchase.

    users, items: raw ids in the order of the ids
    user, item:   int32 [E], the purchases; ts int64 [E]
    Returns int64 [E], distinct positions, and how many steps of the file go back in time. Of
    repeated (user, item) pairs the earlier purchase gets the earlier position.
    Raises InputError if the file's users or a user's items are not those of the purchases.
    """
    known = {raw_id: i for i, raw_id in enumerate(users.to_pylist(), 1)}
    row_of = np.zeros(len(users) + 1, np.int64)
    listed: list[str] = []
    sizes = np.zeros(len(users) + 1, np.int64)
    lines: list[int] = []  # users in file order
    for row, line in read_lines(path):
        raw_user, *raw_items = line.split(None, len(user) + 1) or [""]  # no more than can be right
        owner = known.get(raw_user, 0)
        if not owner:
            raise InputError(
                f"{path}, row {row}: user {show_value(raw_user)} has no reviews; remove it"
            )
        if row_of[owner]:
            raise InputError(
                f"{path}, row {row}: user {show_value(raw_user)} came before; remove one"
            )
        row_of[owner], sizes[owner] = row, len(raw_items)
        lines.append(owner)
        listed += raw_items
    missing = np.flatnonzero(row_of[1:] == 0)
    if len(missing):
        who = show_id(users[missing[0]].as_py())
        raise InputError(f"{path}: user {who} is missing; add a line for each user")

    file_user = np.repeat(np.array(lines, np.int64), sizes[lines])
    file_item = find_ids(pa.array(listed, pa.string()), items)
    in_file = np.lexsort((file_item, file_user))  # stable: repeats keep the file's order
    in_log = np.lexsort((ts, item, user))
    wrong = _first_difference(
        np.stack([file_user, file_item], axis=1)[in_file],
        np.stack([user, item], axis=1)[in_log],
    )
    if wrong is not None:
        whose = int(wrong[0])
        who = show_id(users[whose - 1].as_py())
        raise InputError(
            f"{path}, row {row_of[whose]}: the items of user {who} are not those of "
            "the reviews; list each reviewed item once per review"
        )
    came = np.empty(len(user), np.int64)
    came[in_log] = in_file
    by_file = np.argsort(came)
    back = (np.diff(user[by_file]) == 0) & (np.diff(ts[by_file]) < 0)
    return came, int(back.sum())


def _first_difference(left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """The first row in which two sorted lists of (user, item) differ: the smaller of the two."""
    n = min(len(left), len(right))
    differs = np.flatnonzero((left[:n] != right[:n]).any(axis=1))
    if len(differs):
        i = int(differs[0])
        return left[i] if tuple(left[i]) < tuple(right[i]) else right[i]
    if len(left) == len(right):
        return None
    return (left if len(left) > n else right)[n]
