"""A table as its file has it, and where its rows stand there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class RowPlaces:
    """Where the rows of a table stand: file and number from 1, below a header."""

    path: Path
    numbers: np.ndarray | None = None  # int64 [n], where rows were left out; None = 1..n
    parts: Sequence[tuple[Path, int]] = ()  # of a folder: each file and its first row, from 0

    def find(self, row: int) -> tuple[Path, int]:
        """The file and the number there of a row, from 0."""
        if not self.parts:
            return self.path, row + 1 if self.numbers is None else int(self.numbers[row])
        part, first = next((p, first) for p, first in reversed(self.parts) if first <= row)
        return part, row - first + 1


class RawTable(NamedTuple):
    """The columns that were asked for, and the names of all."""

    table: pa.Table
    names: Sequence[str]  # of all columns; one that stands twice does so here
    places: RowPlaces
    damaged: bool = False  # texts hold U+FFFD where the file is no UTF-8
