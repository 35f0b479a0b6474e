"""Lines of plain or gzipped text files; a damaged file is the user's, so it raises InputError."""

from __future__ import annotations

import gzip
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common.data.hashing import file_sha256
from common.errors import InputError

LONGEST_LINE = 1 << 24  # bytes; a review has some thousands, and a gzip file may unpack to anything
_POINTER = b"version https://git-lfs"


def check_source_file(path: Path) -> None:
    """Raises InputError for a file that is missing, unreadable or only a Git LFS pointer."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; check --raw")
    try:
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error
    if start == _POINTER:
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


def read_bytes(path: Path) -> bytes | mmap.mmap:
    """The bytes of a file; those of a .gz file (any case) unpacked.

    Raises InputError as `read_lines` does, but for UTF-8.
    """
    check_source_file(path)
    try:
        if path.suffix.lower() == ".gz":
            with gzip.open(path) as packed:
                return packed.read()
        with path.open("rb") as file:
            if not path.stat().st_size:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except gzip.BadGzipFile as error:
        raise InputError(f"{path}: is no gzip file; write it again") from error
    except (EOFError, zlib.error) as error:
        reason = "the gzip file is cut short or damaged"
        raise InputError(f"{path}: {reason}; write it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error


def describe_source(path: Path, folder: Path | None = None) -> dict[str, Any]:
    """The file's entry in the manifest; its name is the path from `folder` on, if given."""
    name = path.relative_to(folder).as_posix() if folder else path.name
    return {"file": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
