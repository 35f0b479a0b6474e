"""Workdirs of runs by pattern, as the commands that read several runs take them."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

from common.errors import InputError


def match_workdirs(place: str, where: str) -> list[Path]:
    """The workdirs that `place` names: itself, or the finished runs that match its pattern.

    where: what an error names, as "--run=LCR"
    Sorted, shorter names first, so that seed2 stands before seed10. Folders without results.json
    are left out with a warning on stderr. Raises InputError for a pattern without a finished run.
    """
    if not glob.has_magic(place) or Path(place).is_dir():  # "runs[1]" is a name, too
        return [Path(place)]
    matches = sorted((Path(match) for match in glob.glob(place)), key=lambda p: (len(str(p)), p))
    finished = [path for path in matches if (path / "results.json").is_file()]
    if not finished:
        raise InputError(
            f"{where}: no finished run matches {place} ({len(matches)} folders do); "
            "train first, or mend the pattern"
        )
    for path in sorted(set(matches) - set(finished)):
        print(f"warning: {path}: no results.json, left out", file=sys.stderr)
    return finished
