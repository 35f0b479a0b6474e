"""How large a file and what it holds may be, and which times can be: one place for all readers.

Each bound is far beyond what real data have, and keeps what a small hostile file can cost within
half a gigabyte and a few seconds. Refusing costs one line; docs/reliability.md lists them.
Source: ours.
"""

from __future__ import annotations

import datetime
import stat
from pathlib import Path
from typing import Any

from common.errors import InputError

# Of text files, in bytes.
LONGEST_LINE = 1 << 26  # of CSV, which is not parsed line by line; reviews have some thousands
LONGEST_RECORD = 1 << 24  # a line that is parsed as one object: up to ten copies are in memory
LONGEST_HEADER = 1 << 24  # of CSV: as many columns as below
LONGEST_VALUE = 1 << 22  # one text: War and Peace has 3.2 million
LONGEST_LITERAL = 1_000_000  # a Python literal: its parser needs some hundred bytes for each
# Counts.
MOST_COLUMNS = 200_000  # half of them take half a second; the widest tables have some thousands
LONGEST_LIST = 1_000_000  # entries, such as what one search showed
MOST_VALUES = 2_000_000  # of one JSON text: 88 bytes for an empty object, so 176 MB
DEEPEST = 100  # lists and objects within each other; Python's own limit is about 1,000
# What is compressed, and then is more than GROWN_FROM bytes, has grown at most so often:
# logs grow three to thirty times, and gzip can make a thousand.
LARGEST_GROWTH = 200
GROWN_FROM = 1 << 25
# JSON files, in bytes: metrics.jsonl of a long run, and all others (a tokenizer has up to 20 MB).
LARGEST_TEXT = 1 << 28
# Times, ms UTC, are 0 or more and before END_MS. A clock with a start of its own counts from 0, so
# the least is not 1971; `common.data.readers.time_values` is stricter with what counts from 1970.
# Below 2^43, so no difference of two leaves 64 bits, and a key has 20 bits for the user.
LAST_YEAR = 2200
_SPAN = datetime.datetime(LAST_YEAR + 1, 1, 1) - datetime.datetime(1970, 1, 1)
END_MS = int(_SPAN.total_seconds()) * 1000


def check_growth(path: Path, packed: int, unpacked: int, mend: str = "unpack it yourself") -> None:
    """Raises InputError for a compressed file that holds absurdly more than it has bytes.

    packed, unpacked: bytes, both as far as it has been read
    """
    if unpacked > GROWN_FROM and unpacked > LARGEST_GROWTH * packed:
        raise InputError(
            f"{path}: unpacks to more than {LARGEST_GROWTH} times its size, which no log does; if "
            f"it is meant, {mend}, and give that"
        )


def check_values(text: str | bytes | bytearray) -> None:
    """Raises ValueError for a JSON text with too many values to take apart.

    Signs inside texts count too, for they are not told apart before the text is read.
    """
    signs: tuple[Any, ...] = (",", "[", "{") if isinstance(text, str) else (b",", b"[", b"{")
    if len(text) > MOST_VALUES and sum(text.count(sign) for sign in signs) > MOST_VALUES:
        raise ValueError(f"has more than {MOST_VALUES:,} values")


def check_regular(path: Path, mend: str) -> None:
    """Raises InputError unless a path is a file: to open a pipe would wait for ever.

    mend: the end of an error's line
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        what = "is a link that leads nowhere" if path.is_symlink() else "missing"
        raise InputError(f"{path}: {what}; {mend}") from None
    except (OSError, ValueError) as error:  # a ValueError for a name with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{path}: cannot be read ({reason}); {mend}") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise InputError(f"{path}: is {what}, not a file; {mend}")
