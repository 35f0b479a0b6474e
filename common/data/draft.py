"""A folder that is whole or absent: filled beside its place, then renamed.

    .NAME.lock      while a command writes NAME
    .NAME.new       what it has written so far
    .NAME.old       the folder that NAME replaces, while both are renamed

After a kill the next command that writes NAME clears what is left, and puts the old folder back
where the kill came between the two renamings.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import refused
from common.locks import only_writer

_ELSEWHERE = "another --out"


@contextmanager
def written_beside(out: Path) -> Iterator[Path]:
    """Gives a folder to fill, and puts it in the place of `out`; removes it if filling fails.

    Raises InputError where another process is writing `out`, or it cannot be a folder; WriteError
    for what the disk refuses. Folders above it that were made for it go too.
    """
    out = out.absolute()
    draft, old = (out.parent / f".{out.name}.{end}" for end in ("new", "old"))
    made = [parent for parent in out.parents if not parent.exists()]
    try:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            lock = out.parent / f".{out.name}.lock"
            with only_writer(lock, str(out), f"use {_ELSEWHERE}"):
                yield from _fill(out, draft, old)
        except OSError as error:
            raise refused(out, error, _ELSEWHERE) from error
    except BaseException:  # also a keyboard interrupt
        with suppress(OSError):
            for parent in made:
                parent.rmdir()
        raise


def _fill(out: Path, draft: Path, old: Path) -> Iterator[Path]:
    if old.exists() and not out.exists():
        old.rename(out)
    for left in (draft, old):
        shutil.rmtree(left, ignore_errors=True)
    try:
        draft.mkdir()
        yield draft
        if out.exists():
            out.rename(old)
        try:
            draft.rename(out)
        except BaseException:
            if old.exists():
                old.rename(out)
            raise
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
