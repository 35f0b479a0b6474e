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
from common.data.readers.table_files import TableForm, open_table
from common.data.readers.table_times import read_times
from common.errors import InputError


def _times(tmp_path: Path, values: Any) -> list[int]:
    return _read(tmp_path, values)[0]


def _read(tmp_path: Path, values: Any) -> tuple[list[int], list[str]]:
    """Milliseconds and what was told of them."""
    pq.write_table(pa.table({"time": values}), tmp_path / "t.parquet")
    faults, notes = Faults(), list[str]()
    source = open_table(tmp_path / "t.parquet", TableForm(("time",)), faults, notes)
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


@pytest.mark.parametrize(
    ("values", "message"),
    [
        # dates written as numbers
        ([20231114, 20231115], "row 1, column time: 20231114 looks like a date written as a number"
         "; write 2023-11-14"),
        ([20231114221320], "row 1, column time: 20231114221320 looks like .*; write 2023-11-14T22"),
        ([2023111422, 2023111423], "row 1, column time: 2023111422 looks like .*T22:00"),
        ([202311142213], "row 1, column time: 202311142213 looks like .*T22:13"),
        ([20231114221320123], "row 1, column time: 20231114221320123 looks like a date"),
        (["20231114", "20231115"], "row 1, column time: '20231114' looks like"),
        ([20231114.0], "row 1, column time: 20231114.0 looks like a date"),
        ([1_709_294_400, 20231114], "row 2, column time: 20231114 looks like a date"),
        # a missing time, written as the epoch
        ([1_709_294_400, 0, 0], r"row 2, column time: 0 among times looks .*\(2 rows: 2 0, 3 0\)"),
        ([0, NOON_MS], "row 1, column time: 0 among times looks like a missing one"),
        (["1709294400", "0"], "row 2, column time: '?0'? among times"),
        (["2024-03-01T12:00:00", "1970-01-01T00:00:00"], "row 2, column time: '1970-01-01T00:00:00"
         "' lies before 1995"),
        # float32
        (pa.array([1.7e9], pa.float32()), "row 1, column time: .* is stored as float32, w"),
        (pa.array([1.7e12], pa.float32()), "row 1, column time: .* which rounds milliseconds to"),
        ([float((1_709_294_464 // 128 + 3 * i) * 128) for i in range(9)], "row 1, column time: .* "
         "is a multiple of 128, as all are: float32"),
        (["1.7000001e+09", "1.7000003e+09"], "row 1, column time: '1.7000001e.09' lacks digits"),
        # zones and times of day
        (["2024-03-01T12:00", "2024-03-01T12:00Z"], "row 2, column time: .* has a zone, row 1 has"),
        (["2024-03-01T12:00+02:00", "2024-03-01T12:00"], "row 2, column time: .* has no zone, row"),
        (["2024-03-01", "2024-03-01T12:00"], "row 2, column time: .* has a time of day, row 1 has"),
        (["2024-03-01T12:00", "2024-03-01"], "row 2, column time: .* has no time of day, row 1 ha"),
        # years
        (["1700-01-01T12:00:00"], "row 1, column time: '1700-01-01T12:00:00' lies before 1995"),
        (["2024-03-01", "9999-12-31"], "row 2, column time: '9999-12-31' lies after 2100"),
        ([1_709_294_400, 700_000_000], "row 2, column time: 700000000 as seconds lies before 1995"),
        ([5_000_000_000], "row 1, column time: 5000000000 as seconds lies after 2100"),
        (pa.array([2**62], pa.timestamp("ms")), "row 1, column time: 4611686018427387904 lies af"),
        (pa.array([2**62], pa.timestamp("us")), "row 1, column time: .* lies after 2100"),
        (pa.array([-(2**62)], pa.timestamp("ms")), "row 1, column time: .* lies before 1995"),
        (pa.array([2**62], pa.timestamp("ns", "UTC")), "row 1, column time: .* lies after 2100"),
        (pa.array([2**31 - 1], pa.date32()), "row 1, column time: .* lies after 2100"),
        (pa.array([20_000, None], pa.date32()), "row 2, column time: is null"),
        ([NOON_MS * 1000], "row 1, column time: .*, it looks like microseconds; convert it"),
        ([2**63 - 1], "row 1, column time: .* is neither seconds nor milliseconds"),
        (pa.array([2**64 - 1], pa.uint64()), "row 1, column time: .* is neither seconds nor"),
        (pa.nulls(2), "row 1, column time: is null"),
    ],
)  # fmt: skip
def test_what_only_looks_like_a_time(values: Any, message: str, tmp_path: Path):
    with pytest.raises(InputError, match=r"t\.parquet, " + message) as error:
        _times(tmp_path, values)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("values", "unit"),
    [
        ([1_709_294_400], "seconds; 2024-03-01 12:00:00 to 2024-03-01 12:00:00"),
        ([NOON_MS, NOON_MS + 1000], "milliseconds; 2024-03-01 12:00:00 to 2024-03-01 12:00:01"),
        (["2024-03-01T12:00"], "ISO 8601 without a zone, taken as UTC; 2024-03-01 12:00:00 to"),
        (["2024-03-01T14:00+02"], "ISO 8601 with a zone; 2024-03-01 12:00:00 to"),
        (["2024-03-01"], "dates; 2024-03-01 00:00:00 to"),
        ([NOON.date()], "dates; 2024-03-01 00:00:00 to"),
        ([NOON], "timestamps with a zone; 2024-03-01 12:00:00 to"),
        ([1, 2, 3], "small numbers, taken as seconds of a clock of its own; 1970-01-01 00:00:01"),
    ],
)
def test_the_unit_is_told(values: Any, unit: str, tmp_path: Path):
    [note] = _read(tmp_path, values)[1]
    assert note.startswith(f"t.parquet: time is {unit}")


def test_whole_times_are_not_taken_for_rounded_ones(tmp_path: Path):
    """Midnights and full hours are multiples of 128 seconds too."""
    for step in (86_400, 28_800):
        times = [(1_709_294_400 // step + i) * step for i in range(20)]
        assert _times(tmp_path, times) == [time * 1000 for time in times]
