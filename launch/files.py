"""Files that are whole or absent."""

from __future__ import annotations

from pathlib import Path

from common.errors import writing


def write_beside(path: Path, text: str) -> None:
    """Writes UTF-8 text to a temporary file beside its place, then renames. Raises WriteError."""
    beside = path.with_name(path.name + ".tmp")
    with writing(path):
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
