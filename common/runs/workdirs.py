"""Workdirs of runs by pattern, as the commands that read several runs take them."""

from __future__ import annotations

import glob
import sys
from pathlib import Path

from common.errors import InputError
from common.json_files import read_json


def match_workdirs(place: str, where: str) -> list[Path]:
    """The workdirs that `place` names: itself, or the finished runs that match its pattern.

    where: what an error names, as "--run=LCR"
    Sorted, shorter names first, so that seed2 stands before seed10. Folders of runs that are not
    finished are left out with a warning on stderr. Raises InputError for a pattern without a
    finished run.
    """
    if not glob.has_magic(place) or Path(place).is_dir():  # "runs[1]" is a name, too
        return [Path(place)]
    matches = sorted((Path(match) for match in glob.glob(place)), key=lambda p: (len(str(p)), p))
    finished = [path for path in matches if is_finished(path)]
    if not finished:
        raise InputError(
            f"{where}: no finished run matches {place} ({len(matches)} folders do); "
            "train first, or mend the pattern"
        )
    for path in sorted(set(matches) - set(finished)):
        print(f"warning: {path}: not finished, left out", file=sys.stderr)
    return finished


def is_finished(workdir: Path) -> bool:
    """Whether a run was trained to its end and judged; results of one on its way do not count."""
    path = workdir / "results.json"
    if not path.is_file():
        return False
    try:
        model = read_json(path, "evaluate again").get("model")
    except InputError:
        return True  # who reads the results says what is wrong with them
    return not isinstance(model, dict) or model.get("finished") is not False
