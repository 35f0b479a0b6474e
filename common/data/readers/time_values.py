"""Values that should be times, with where they stand; and which years count as real.

Shapes: [x] values: one per row, or the entries of lists
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from common.data.readers.table_files import SourceTable

MEND = "give seconds, milliseconds or ISO 8601, the same in all rows"
FIRST_YEAR, LAST_YEAR = 1995, 2100
_EPOCH = datetime.datetime(1970, 1, 1)
# Seconds since 1970, the first of the years and the first after them.
WINDOW = tuple(
    int((datetime.datetime(year, 1, 1) - _EPOCH).total_seconds())
    for year in (FIRST_YEAR, LAST_YEAR + 1)
)


@dataclass(frozen=True)
class TimeValues:
    """Values of one column."""

    source: SourceTable
    column: str
    values: pa.Array  # [x]
    rows: np.ndarray | None = None  # int64 [x] ascending; None = one per row

    def tell(self, bad: np.ndarray | pa.Array, what: str, mend: str = MEND) -> np.ndarray:
        """As `SourceTable.tell`."""
        return self.source.tell(bad, self.column, what, mend, values=self.values, rows=self.rows)

    def number(self, entry: int) -> int:
        """The row of a value as messages count it."""
        return self.source.find_row(entry if self.rows is None else int(self.rows[entry]))[1]

    def tell_years(self, times: np.ndarray, per_second: int, valid: np.ndarray, what: str) -> None:
        """Tells of valid times, int64 since 1970, outside the years; what: e.g. " as seconds"."""
        early = valid & (times < WINDOW[0] * per_second)
        late = valid & (times >= WINDOW[1] * per_second)
        for bad, side in ((early, f"before {FIRST_YEAR}"), (late, f"after {LAST_YEAR}")):
            if bad.any():
                self.tell(bad, f"{{}}{what} lies {side}")


def show_span(times: np.ndarray) -> str:
    """The first and the last of times (int64, ms UTC) as text."""
    ends = [
        (_EPOCH + datetime.timedelta(milliseconds=int(time))).isoformat(" ", "seconds")
        for time in (times.min(), times.max())
    ]
    return " to ".join(ends)
