"""Reads what a run has written into its logbook, `metrics.jsonl`."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from common.json_files import check_kind, read_json_lines, take
from common.training.logbook import FILE

_FAR = 2**63
_MEND = "use another run"


class Record(NamedTuple):
    """The lines of one kind and stage, in order.

    Shapes: [n] lines
    """

    step: np.ndarray  # int64 [n], finished updates of the stage
    values: dict[str, np.ndarray]  # name -> float64 [n]; nan where a line lacks the name or is null

    def column(self, name: str) -> np.ndarray:
        """float64 [n]; nan everywhere for a name that no line has."""
        return self.values.get(name, np.full(len(self.step), np.nan))


def read_record(workdir: Path, stage: str, kind: str) -> Record:
    """The lines of a run, their steps counted from the stage's own start.

    kind: "train", "valid" or "probe"
    Raises InputError where there is no logbook, or none that can be read.
    """
    path = workdir / FILE
    if not path.exists():
        raise InputError(f"{path}: missing; give the workdir of a trained run")
    lines = list(read_json_lines(path, _MEND))
    for row, line in enumerate(lines, 1):
        for key, wanted in (("stage", str), ("kind", str), ("step", int), ("values", dict)):
            take(line, key, wanted, f"{path}, row {row}", _MEND)
        for number in (line["step"], *line["values"].values()):
            if type(number) is int and not -_FAR < number < _FAR:
                raise InputError(f"{path}, row {row}: has a number of more than 63 bits; {_MEND}")
        for name, value in line["values"].items():
            check_kind(value, (float, type(None)), f"{path}, row {row}, key values.{name}", _MEND)
    stages = [line["stage"] for line in lines]
    before = lines[: stages.index(stage)] if stage in stages else []
    start = max((line["step"] for line in before), default=0)
    lines = [line for line in lines if (line["stage"], line["kind"]) == (stage, kind)]
    names = {name for line in lines for name in line["values"]}
    values = {
        name: np.array([line["values"].get(name) for line in lines], np.float64)
        for name in sorted(names)
    }
    return Record(np.array([line["step"] - start for line in lines], np.int64), values)
