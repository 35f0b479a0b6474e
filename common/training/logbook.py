"""The record of a run: `metrics.jsonl`, and TensorBoard beside it.

One JSON object per line of `metrics.jsonl`:

    {"step": 40, "stage": "supervised", "kind": "train", "values": {"loss": 0.61, ...},
     "timing": {"examples_per_second": 8123.0, "wait_share": 0.01}}

step    finished updates over all stages
kind    "train": of that very step, not a mean; "valid": of the parameters after that step;
        "probe": of those parameters and the next step's batch
values  a function of (config, dataset, seed); null where a value is not finite
timing  of this machine on that day; leave it out when comparing two runs
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Literal

from common.bounds import check_regular
from common.errors import InputError, WriteError, writing
from common.json_files import parse_json, take
from common.training.board import Board, open_board
from common.training.processes import is_first, tell

FILE = "metrics.jsonl"
DAMAGED = "metrics.damaged.jsonl"  # lines that were no records any more
_MEND = "remove that line, or use another --workdir"


class Logbook:
    """Writes the record; process 0 only, the others write nothing."""

    def __init__(self, workdir: Path, step: int, evaluated: bool, tensorboard: bool = True) -> None:
        """Opens the record of a run that stands at a step, 0 for a new one.

        step: global step of the checkpoint the run goes on from; later lines are cut off, because
            they will be written again
        evaluated: whether the evaluation at `step` is part of that checkpoint
        """
        self._file: Any = None
        self._board: Board | None = None
        if not is_first():
            return
        self._path = workdir / FILE
        with writing(self._path):
            workdir.mkdir(parents=True, exist_ok=True)
            cut_lines(self._path, step, evaluated)
            # Unbuffered: what a full disk refused is not tried again when the file is closed.
            self._file = self._path.open("ab", buffering=0)
        if tensorboard:
            self._board = open_board(workdir / "tensorboard", step)

    def __enter__(self) -> Logbook:
        return self

    def __exit__(self, *error: object) -> None:
        # A disk that is full of a checkpoint takes no TensorBoard file either: the first is told.
        with nullcontext() if error[0] is None else suppress(WriteError):
            for writer in (self._file, self._board):
                if writer is not None:
                    writer.close()

    def write(
        self,
        kind: Literal["train", "valid", "probe"],
        stage: str,
        step: int,
        values: Mapping[str, float],
        timing: Mapping[str, float],
    ) -> None:
        """Writes one line; it is on its way to the disk when this returns. Raises WriteError."""
        if self._file is None:
            return
        line = {
            "step": step,
            "stage": stage,
            "kind": kind,
            "values": {name: _finite(value) for name, value in values.items()},
            "timing": {name: round(value, 4) for name, value in timing.items()},
        }
        text = (json.dumps(line) + "\n").encode()
        with writing(self._path):
            self._path.stat()  # a file that has been deleted can be written to
            while text:  # an almost full disk takes a part, and refuses the rest
                text = text[self._file.write(text) :]
        if self._board is not None:
            self._board.write(kind, step, {**values, **timing})


def cut_lines(path: Path, step: int, evaluated: bool) -> None:
    """Cuts what a run wrote after the checkpoint it goes on from, and a line cut short by a kill.

    evaluated: whether the "valid" line of `step` itself stays
    A line that is no record is moved to `DAMAGED` beside the file, and told; the others stay.
    Raises InputError for a file that cannot be read.
    """
    if not path.exists():
        return
    done = ("train", "valid") if evaluated else ("train",)
    kept, damaged = [], []
    *lines, rest = _read_lines(path)
    for row, line in enumerate([*lines, rest] if _is_whole(rest) else lines, 1):
        try:
            at, kind = _find_place(line, f"{path}, row {row}")
        except InputError as error:
            damaged.append(line + b"\n")
            aside = path.with_name(DAMAGED)
            tell(f"warning: {str(error).partition(';')[0]}; moved to {aside.name}, the rest stays")
            continue
        is_new = at > step or (at == step and kind not in done)
        if not is_new:
            kept.append(line + b"\n")
    if damaged:
        with path.with_name(DAMAGED).open("ab") as file:
            file.writelines(damaged)
    beside = path.with_name(path.name + ".tmp")
    beside.write_bytes(b"".join(kept))
    os.replace(beside, path)


def _read_lines(path: Path) -> list[bytes]:
    check_regular(path, _MEND)
    try:
        return path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {_MEND}") from None


def _find_place(line: bytes, where: str) -> tuple[int, str]:
    """The step and the kind of a record. Raises InputError for a line that is none."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}, byte {error.start + 1}: is not UTF-8; {_MEND}") from None
    record = parse_json(text, where, _MEND)
    return take(record, "step", int, where, _MEND), take(record, "kind", str, where, _MEND)


def _is_whole(line: bytes) -> bool:
    """Whether the last line, which has no end, has all but that."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _finite(value: float) -> float | None:
    # JSON has no NaN; other readers than Python's refuse the word.
    return float(value) if math.isfinite(value) else None
