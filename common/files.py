"""Files that are whole or absent, and the folders they stand in."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from common.errors import MEND, InputError, WriteError, writing


def write_beside(path: Path, text: str) -> None:
    """Writes UTF-8 text to a temporary file beside its place, then renames. Raises WriteError."""
    beside = path.with_name(path.name + ".tmp")
    with writing(path):
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        except OSError:
            with suppress(OSError):
                beside.unlink()
            raise


def make_folder(path: Path) -> Path:
    """Makes a folder and those above it. Raises WriteError; InputError where there cannot be one.

    Returns the folder.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def take_path(name: str, value: object) -> Path:
    """The path that an argument of the Python API gives. Raises InputError for what is none."""
    if isinstance(value, str | os.PathLike) and (path := os.fspath(value)) and "\0" not in path:
        return Path(path)
    raise InputError(f"{name}={value!r}: is no path; give the name of a folder, or a Path")


def take_folder(text: str, flag: str) -> Path:
    """The absolute path of a folder that a flag names, which need not be there yet.

    Raises InputError for a file, a place below one, and a link that leads to itself; WriteError
    where the system says at once that nothing may be written, which is better known before work.
    """
    path = Path(text)
    try:
        path = path.resolve()
    except (OSError, RuntimeError):  # a RuntimeError for a loop, before Python 3.13
        raise InputError(f"--{flag}={text}: is a link to itself; use another folder") from None
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise InputError(f"--{flag}={text}: is no folder; use another one")
    above = next(place for place in (path, *path.parents) if place.exists())
    if not above.is_dir():
        raise InputError(f"--{flag}={text}: {above} is no folder; use another one")
    if not os.access(above, os.W_OK | os.X_OK):
        why = f"no permission in {above}, or a read-only disk"
        raise WriteError(f"--{flag}={text}: cannot be written ({why}); {MEND}")
    return path
