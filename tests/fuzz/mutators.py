"""Changed files, drawn from a seed: one mutator for each format, and files of a wrong kind.

Damage changes bytes as a disk or a copy does: bits, cuts, slices. A rewrite changes values and
writes the file anew, as a program with another idea of the format does: types, sizes, nesting,
swapped fields.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import parquet_changes
import rewrites
from damage import damage

WRONG_FILES = ("missing", "folder", "pipe", "loop", "device", "empty")


class Change(NamedTuple):
    """What one input is: a file with another content, or with none."""

    name: str  # of the file, below the folder
    kind: str  # how it was changed, for messages
    content: bytes | None  # None = one of `WRONG_FILES`, which is the kind
    damage: bool  # bytes were changed, so a checksum has to find it


def draw_change(
    files: Mapping[str, bytes], rng: random.Random, wrong: Sequence[str] = WRONG_FILES
) -> Change:
    """One change of one of the files. Equal seeds give equal changes.

    wrong: kinds of wrong files that may be drawn
    """
    if rng.random() < 0.5:  # each kind of file as often, however few there are
        end = rng.choice(sorted({Path(name).suffix for name in files}))
        name = rng.choice(sorted(name for name in files if Path(name).suffix == end))
    else:  # each byte as often
        [name] = rng.choices(sorted(files), [len(files[name]) for name in sorted(files)])
    content, sort = files[name], rng.random()
    if sort < 0.04:
        return Change(name, rng.choice(wrong), None, False)
    if sort < 0.08:
        other = rng.choice(sorted(files))
        return Change(name, f"swapped with {other}", files[other], True)
    rewrite = _rewriter(name)
    if rewrite is None or sort < 0.5:
        kind, changed = damage(content, rng)
        return Change(name, kind, changed, True)
    kind, changed = rewrite(content, rng)
    return Change(name, kind, changed, False)


def apply_change(folder: Path, change: Change) -> None:
    """Puts a change in the place of its file."""
    path = folder / change.name
    path.unlink()
    if change.content is not None:
        path.write_bytes(change.content)
    elif change.kind == "folder":
        path.mkdir()
    elif change.kind == "pipe":
        os.mkfifo(path)
    elif change.kind == "loop":
        path.symlink_to(path)
    elif change.kind == "device":
        path.symlink_to("/dev/zero")
    elif change.kind == "empty":
        path.write_bytes(b"")


def undo_change(folder: Path, change: Change, files: Mapping[str, bytes]) -> None:
    """Puts the file back as it was."""
    path = folder / change.name
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(files[change.name])


def _rewriter(name: str) -> Callable[..., tuple[str, bytes]] | None:
    if name.endswith(".gz"):
        inner = _rewriter(name.removesuffix(".gz"))
        if "_Toys" in name:  # Amazon's endings say .json
            inner = (
                rewrites.change_json_lines
                if name.startswith("reviews")
                else rewrites.change_literals
            )
        return lambda content, rng: rewrites.change_gzip(content, rng, inner)
    ends = {
        ".jsonl": rewrites.change_json_lines,
        ".json": rewrites.change_json,
        "metadata": rewrites.change_json,
        ".csv": rewrites.change_csv,
        ".tsv": rewrites.change_csv,
        ".npy": rewrites.change_npy,
        ".parquet": parquet_changes.change_parquet,
        ".safetensors": rewrites.change_safetensors,
        ".txt": rewrites.change_words,
    }
    return next((rewrite for end, rewrite in ends.items() if name.endswith(end)), None)
