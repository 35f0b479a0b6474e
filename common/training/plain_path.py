"""A path without the characters of a pattern, for libraries that would take it for one."""

from __future__ import annotations

import atexit
import glob
import shutil
import tempfile
from functools import cache
from pathlib import Path


@cache
def plain_path(folder: Path) -> Path:
    """The folder itself, or a link to it where its path has "*", "?" or "[" in it.

    Orbax looks for the parts of a save with `folder.glob`. In "runs[1]" it finds none, warns, and
    leaves a checkpoint that nobody can read. The folder is made; the link goes with the process.
    """
    if not glob.has_magic(str(folder)):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="snr-jax-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    link = place / "link"
    link.symlink_to(folder, target_is_directory=True)
    return link
