"""Lines of plain or gzipped text files; a damaged file is the user's, so it raises InputError."""

from __future__ import annotations

import gzip
import mmap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from common.bounds import LONGEST_LINE, LONGEST_RECORD, check_growth
from common.data.hashing import file_sha256
from common.errors import InputError

_POINTER = b"version https://git-lfs"
_PART = 1 << 20  # bytes that are unpacked at a time


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
    for a line of more than `LONGEST_RECORD` bytes, and a gzip file that grows too much.
    """
    check_source_file(path)
    row = read = 0
    try:
        with path.open("rb") as raw, _open_packed(raw) if path.suffix == ".gz" else raw as file:
            for row, line in enumerate(iter(lambda: file.readline(LONGEST_RECORD + 1), b""), 1):
                if len(line) > LONGEST_RECORD:
                    raise InputError(
                        f"{path}, row {row}: is longer than {LONGEST_RECORD:,} bytes; shorten or "
                        "remove it"
                    )
                read += len(line)
                check_growth(path, raw.tell(), read)
                yield row, line.rstrip(b"\r\n").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}, row {row}: is not UTF-8; convert the file") from error
    except gzip.BadGzipFile as error:
        raise InputError(f"{path}: is no gzip file; download it again") from error
    except (EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: the gzip file is cut short or damaged after row {row}; download it again"
        ) from error


def read_bytes(path: Path, longest: int = LONGEST_LINE) -> bytes | bytearray | mmap.mmap:
    """The bytes of a file; those of a .gz file (any case) unpacked.

    longest: bytes that a line may have
    Raises InputError as `read_lines` does, but for UTF-8.
    """
    check_source_file(path)
    try:
        if path.suffix.lower() == ".gz":
            return _unpack(path, longest)
        with path.open("rb") as file:
            if not path.stat().st_size:
                return b""
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        _check_lines(path, whole, longest)
        return whole
    except gzip.BadGzipFile as error:
        raise InputError(f"{path}: is no gzip file; write it again") from error
    except (EOFError, zlib.error) as error:
        reason = "the gzip file is cut short or damaged"
        raise InputError(f"{path}: {reason}; write it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its rights") from error


def _open_packed(raw: IO[bytes]) -> gzip.GzipFile:
    return gzip.GzipFile(fileobj=raw, mode="rb")


def _unpack(path: Path, longest: int) -> bytearray:
    """The content of a gzip file; it stops where a line gets too long, or the whole too large."""
    whole, checked = bytearray(), 0
    with path.open("rb") as raw, _open_packed(raw) as packed:
        while part := packed.read(_PART):
            whole += part
            check_growth(path, raw.tell(), len(whole))
            if len(whole) - checked > longest:
                checked = _check_lines(path, whole, longest, checked)
    _check_lines(path, whole, longest, checked)
    return whole


def _check_lines(path: Path, data: bytearray | mmap.mmap, longest: int, start: int = 0) -> int:
    """Raises InputError for a line of more than `longest` bytes; returns where the last begins.

    start: where a line begins
    It looks back from the farthest place where a line may end, so it reads next to nothing.
    """
    while len(data) - start > longest:
        end = data.rfind(b"\n", start, start + longest + 1)
        if end < 0:
            row = data[:start].count(b"\n") + 1
            raise InputError(
                f"{path}, line {row}: is longer than {longest:,} bytes; shorten or remove it"
            )
        start = end + 1
    return start


def describe_source(path: Path, folder: Path | None = None) -> dict[str, Any]:
    """The file's entry in the manifest; its name is the path from `folder` on, if given."""
    name = path.relative_to(folder).as_posix() if folder else path.name
    return {"file": name, "bytes": path.stat().st_size, "sha256": file_sha256(path)}
