"""Times of your own tables, in every shape that is read."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.readers.table_faults import Faults
from common.data.readers.table_files import Columns, open_table
from common.data.readers.table_times import read_times
from common.errors import InputError


def _times(tmp_path: Path, values: Any) -> list[int]:
    return _read(tmp_path, values)[0]


def _read(tmp_path: Path, values: Any) -> tuple[list[int], list[str]]:
    """Milliseconds and what was told of them."""
    pq.write_table(pa.table({"time": values}), tmp_path / "t.parquet")
    faults, notes = Faults(), list[str]()
    source = open_table(tmp_path / "t.parquet", Columns(("time",)), faults, notes)
    assert source is not None
    ms = read_times(source, "time", notes).ms.tolist()
    faults.stop(tmp_path)
    return ms, notes


NOON = datetime.datetime(2024, 3, 1, 12, tzinfo=datetime.UTC)
NOON_MS = 1_709_294_400_000


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1_709_294_400], [NOON_MS]),
        ([NOON_MS], [NOON_MS]),
        ([1_709_294_400.25], [NOON_MS + 250]),
        ([float(NOON_MS)], [NOON_MS]),
        (["1709294400", " 1709294400.5 "], [NOON_MS, NOON_MS + 500]),
        (["1709294400000"], [NOON_MS]),
        (["1.7092944e9"], [NOON_MS]),
        (["2024-03-01", "2024-03-02"], [NOON_MS - 12 * 3_600_000, NOON_MS + 12 * 3_600_000]),
        (["2024-03-01 12:00", "2024-03-01T12:00:00.123456"], [NOON_MS, NOON_MS + 123]),
        (["2024-03-01T12:00:00Z", "2024-03-01T14:00+02:00"], [NOON_MS, NOON_MS]),
        (["2024-03-01T12:00:00Z", "2024-03-01T07:00:00-0500"], [NOON_MS, NOON_MS]),
        (["2024-03-01 12:00:00+00"], [NOON_MS]),  # as DuckDB and Postgres write it
        (pa.array([NOON], pa.timestamp("us", "UTC")), [NOON_MS]),
        (pa.array([NOON], pa.timestamp("ns", "Asia/Tokyo")), [NOON_MS]),
        (pa.array([NOON.date()]), [NOON_MS - 12 * 3_600_000]),
        ([0], [0]),
    ],
)
def test_times_become_milliseconds(values: Any, expected: list[int], tmp_path: Path):
    assert _times(tmp_path, values) == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1_709_294_400, NOON_MS], "row 2, column time: 1709294400000 looks like milliseconds, "
         "row 1 like seconds"),
        ([NOON_MS, NOON_MS, 5], "row 3, column time: 5 looks like seconds"),
        ([5, -1], "row 2, column time: -1 lies before 1970"),
        ([5.0, float("nan")], "row 2, column time: nan is no time"),
        ([NOON_MS * 1000], "row 1, column time: .* is neither seconds nor milliseconds"),
        ([5, None], "row 2, column time: is null"),
        (["5", ""], "row 2, column time: '' is no number, as row 1 is"),
        (["", "5"], "row 1, column time: '' is no time"),
        (["5", "2024-03-01"], "row 2, column time: '2024-03-01' is no number"),
        (["2024-03-01", "5"], "row 2, column time: '5' is no time"),
        (["2024-03-01", "01.03.2024"], "row 2, column time: '01.03.2024' is no time"),
        (["2024-02-29", "2023-02-29", "x"], "row 3, column time: 'x' is no time"),
        (["2024-02-29", "2023-01-01", "2023-02-29"], "row 3, column time: '2023-02-29' is no"),
        (["2024-02-29T10:00", "2024-01-01T25:00"], "row 2, column time: '2024-01-01T25:00' is no"),
        ([True], "column time: has type bool"),
    ],
)  # fmt: skip
def test_times_that_do_not_fit(values: list, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"t\.parquet, " + message):
        _times(tmp_path, values)


@settings(derandomize=True, deadline=None, max_examples=50)
@given(ms=st.lists(st.integers(800 * 10**9, 4 * 10**12), min_size=1, max_size=5))
def test_iso_and_numbers_agree(ms: list[int], tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("times")
    epoch = datetime.datetime(1970, 1, 1)
    texts = [(epoch + datetime.timedelta(milliseconds=t)).isoformat() for t in ms]
    assert _times(folder, texts) == _times(folder, ms) == ms
