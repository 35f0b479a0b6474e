"""Reads what a run has written into its logbook, `metrics.jsonl`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.errors import InputError
from common.training.logbook import FILE


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
    try:
        lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
        stages = [line["stage"] for line in lines]
        before = lines[: stages.index(stage)] if stage in stages else []
        start = max((line["step"] for line in before), default=0)
        lines = [line for line in lines if (line["stage"], line["kind"]) == (stage, kind)]
        names = {name for line in lines for name in line["values"]}
        values = {
            name: np.array([line["values"].get(name) for line in lines], np.float64)
            for name in sorted(names)
        }
        step = np.array([line["step"] - start for line in lines], np.int64)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; give the workdir of a trained run") from None
    except (ValueError, KeyError, TypeError, OSError) as fault:
        raise InputError(f"{path}: not readable ({fault}); use another run") from None
    return Record(step, values)
