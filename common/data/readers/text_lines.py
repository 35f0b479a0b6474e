"""Lines of plain or gzipped text files; a damaged file is the user's, so it raises InputError."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.data.hashing import file_sha256
from common.errors import InputError

LONGEST_LINE = 1 << 24  # bytes; a review has some thousands, and a gzip file may unpack to anything
_POINTER = b"version https://git-lfs"


def check_source_file(path: Path) -> None:
    """Raises InputError for a file that is missing or is only a Git LFS pointer."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check --raw")
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise InputError(f"{path}: is a Git LFS pointer, not the data; run `git lfs pull`")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yields (row, line) from row 1, without line ends; reads gzip if the name ends in .gz.

    Raises InputError for a file that is missing, an LFS pointer, no gzip, cut short or not UTF-8,
    and for a line of more than `LONGEST_LINE` bytes.
    """
    check_source_file(path)
    row = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            for row, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
                if len(line) > LONGEST_LINE:
                    raise InputError(
                        f"{path}, row {row}: is longer than {LONGEST_LINE:,} bytes; shorten or "
                        "remove it"
                    )
                yield row, line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, row {row}: is not UTF-8; convert the file") from error
    except gzip.BadGzipFile as error:
        raise InputError(f"{path}: is no gzip file; download it again") from error
    except (EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: the gzip file is cut short or damaged after row {row}; download it again"
        ) from error


def describe_source(path: Path) -> dict[str, Any]:
    """The file's entry in the manifest."""
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
