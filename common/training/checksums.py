"""The listing of one checkpoint: its files, their bytes and their checksums.

    checksums.json      {"params/d/1f0a...": {"bytes": 8192, "xxh3": "5f1d..."}, ...}

Written last, so a checkpoint without it is one whose save did not come to its end.
xxh3 (128 bits) finds damage: a flipped bit, a copy that broke off, two files that changed places.
It is no protection against somebody who means harm and can write the listing too. Our choice,
because sha256 would take about a fifth of a save (docs/performance.md).
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import xxhash

from common.errors import InputError
from common.json_files import read_json, take

LISTING = "checksums.json"
_BEFORE = "sizes.json"  # the listing of older versions
_AGAIN = "train again"
_BLOCK = 1 << 20  # bytes read at once
_METADATA, _LARGEST = "_CHECKPOINT_METADATA", 1 << 20  # of Orbax: when it saved; some hundred bytes


class CutShort(Exception):
    """A checkpoint that cannot be believed; the message says which file, and what is wrong."""


class Unlisted(CutShort):
    """A checkpoint without a listing: its save was killed near its end."""


def write_checksums(path: Path) -> None:
    """Lists the files of one complete checkpoint.

    The listing itself is whole or absent: half of one would condemn a good checkpoint.
    """
    files = {
        name: {"bytes": file.stat().st_size, "xxh3": hash_file(file)}
        for name, file in _find_files(path).items()
    }
    beside = path.with_name(f"{LISTING}.{path.name}.tmp")
    beside.write_text(json.dumps(files, indent=0))
    beside.replace(path / LISTING)


def check_files(path: Path) -> None:
    """Raises CutShort unless one checkpoint has the files of its listing, to the bit."""
    if not path.is_dir():
        raise CutShort("it is missing")
    if not (path / LISTING).exists():
        if (path / _BEFORE).exists():
            raise CutShort(f"saved by an older version, without {LISTING}")
        raise Unlisted(f"{LISTING} is missing: the save did not come to its end")
    try:
        listed = {
            name: (take(entry, "bytes", int, name, _AGAIN), take(entry, "xxh3", str, name, _AGAIN))
            for name, entry in read_json(path / LISTING, _AGAIN).items()
        }
    except InputError as error:
        raise CutShort(f"{LISTING} cannot be read") from error
    found = _find_files(path)
    if unknown := sorted(found.keys() - listed.keys()):
        raise CutShort(f"{unknown[0]} is not in {LISTING}")
    for name, (size, checksum) in listed.items():
        if name not in found:
            raise CutShort(f"{name} is missing")
        if found[name].stat().st_size != size:
            raise CutShort(f"{name} has {found[name].stat().st_size} of {size} bytes")
        if hash_file(found[name]) != checksum:
            raise CutShort(f"{name} has other bytes than were saved")


def hide_odd_metadata(path: Path) -> None:
    """Renames what Orbax reads of every checkpoint while it opens, if it is a device, a pipe, or
    far too large: reading it would have no end. The listing then shows that it is missing."""
    file = path / _METADATA
    with suppress(OSError):  # there is none, or another process was here first
        if not file.is_file() or file.stat().st_size > _LARGEST:
            file.rename(path / f"{_METADATA}.damaged")


def hash_file(path: Path) -> str:
    """xxh3 of a file's bytes, 32 hexadecimal digits."""
    hasher, block = xxhash.xxh3_128(), memoryview(bytearray(_BLOCK))
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            hasher.update(block[:count])
    return hasher.hexdigest()


def _find_files(path: Path) -> dict[str, Path]:
    """Name -> file of all in a checkpoint but its listing."""
    files = (file for file in sorted(path.rglob("*")) if file.is_file() and file.name != LISTING)
    return {file.relative_to(path).as_posix(): file for file in files}
