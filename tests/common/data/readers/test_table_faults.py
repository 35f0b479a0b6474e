"""All that is wrong is told in one run, counted; and what the options of the command do."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.data.readers.table_catalogue import Named
from common.data.readers.table_columns import read_id_lists
from common.data.readers.table_faults import Faults
from common.data.readers.table_files import SourceTable, open_table
from common.data.readers.table_options import TableOptions
from common.data.readers.table_times import TimeLists, read_click_times, read_times
from common.data.readers.tables import COLUMNS, _Lists, _read_results, read_tables
from common.data.schema import SourceTables
from common.errors import InputError

ITEMS = "item,title\na,Cup\nb,Pot\n"
INTERACTIONS = "user,item,time\nann,a,1700000000\nbob,b,1700000900\n"
SEARCHES = "user,query,time,clicked\nann,cup,1699999000,a\n"


def _read(folder: Path, *options: Any, **files: str | pa.Table | None) -> SourceTables:
    content = {"items": ITEMS, "interactions": INTERACTIONS, "searches": SEARCHES} | files
    for name, text in content.items():
        for end in ("csv", "parquet"):
            (folder / f"{name}.{end}").unlink(missing_ok=True)
        if isinstance(text, pa.Table):
            pq.write_table(text, folder / f"{name}.parquet")
        elif text is not None:
            (folder / f"{name}.csv").write_text(text)
    return read_tables(folder, *options)


def _faults(folder: Path, *options: Any, **files: Any) -> list[str]:
    with pytest.raises(InputError) as error:
        _read(folder, *options, **files)
    return [line.strip().removeprefix(f"{folder}/") for line in str(error.value).splitlines()]


def test_one_run_tells_all_that_is_wrong_in_all_files(tmp_path: Path):
    head, *lines = _faults(
        tmp_path,
        items="item,titel\na,Cup\na,Cup\nb,Pot\n",
        interactions="user,item,time,label\nann,a,1700000000,2\n,b,soon,x\nbob,c,0,1\nbob,d,-1,1\n",
        searches="user,qury,time,clicked\nann,cup,2023-11-14,z\nbob,cup,2023-02-30,z b y\n",
    )
    assert head.endswith(f": {len(lines)} faults; mend them, then start the same command again")
    starts = [
        "items.csv, column titel: not known, did you mean title?",
        "items.csv, row 2, column item: 'a' stands in an earlier row",
        "interactions.csv, row 2, column user: is empty",
        "interactions.csv, row 2, column time: 'soon' is no number, as row 1 is",
        "interactions.csv, row 3, column time: '0' among times looks like a missing one",
        "interactions.csv, row 4, column time: '-1' lies before 1970",
        "interactions.csv, row 1, column label: '2' is neither 0 nor 1; mend it (2 rows: 1 '2', 2",
        "interactions.csv, row 3, column item: item 'c' is in no row of items.csv",
        "searches.csv, column query: missing; did you mean qury?",
        "searches.csv, row 2, column time: '2023-02-30' is no time",
        "searches.csv, row 1, column clicked: item 'z' is in no row of items.csv",
    ]
    for start in starts:
        assert [line for line in lines if line.startswith(start)], start
    assert len(lines) == len(starts)


def test_faults_are_counted_and_the_first_five_are_shown(tmp_path: Path):
    rows = "".join(
        f"ann,a,{1_700_000_000 + i if i % 2 else 'soon' + str(i)}\n" for i in range(2001)
    )
    [line] = _faults(tmp_path, interactions="user,item,time\nann,a,1700000000\n" + rows)
    assert line.startswith("interactions.csv, row 2, column time: 'soon0' is no number, as row 1")
    assert line.endswith("(1,001 rows: 2 'soon0', 4 'soon2', 6 'soon4', 8 'soon6', 10 'soon8' ...)")


# Items that events name


def test_missing_items_are_counted_with_the_way_out(tmp_path: Path):
    lists = "|".join(f"x{i:05}" for i in range(25_000))
    more = "|".join(f"y{i:05}" for i in range(25_000))
    searches = f"user,query,time,shown\nann,cup,1699999000,{lists}|a\nann,cup,1699999001,{more}\n"
    [line] = _faults(tmp_path, searches=searches + f"ann,cup,1699999002,{lists}\n")
    assert line == (
        "searches.csv, row 1, column shown: item 'x00000' is in no row of items.csv; add the item, "
        "drop the row, or use --add_missing_items for items without texts (50,000 ids in 3 rows: "
        "1 'x00000', 1 'x00001', 1 'x00002', 1 'x00003', 1 'x00004' ...)"
    )
    tables = _read(tmp_path, TableOptions(add_missing_items=True), searches=searches)
    assert tables.items.num_rows == 50_002
    assert tables.items["title"].to_pylist()[:3] == ["Cup", "Pot", None]
    assert (
        "items.csv: 50,000 items were added that only events name, such as 'x00000', 'x00001', "
        "'x00002', 'x00003', 'x00004'" in tables.meta["notes"]
    )


def test_without_missing_items_none_are_added(tmp_path: Path):
    tables = _read(tmp_path, TableOptions(add_missing_items=True))
    assert tables.items.equals(_read(tmp_path).items)
    assert not any("added" in note for note in tables.meta["notes"])


def test_ids_that_differ_by_a_decimal(tmp_path: Path):
    items = "item\n1\n2\n"
    [line] = _faults(tmp_path, items=items, searches=None,
                     interactions="user,item,time\nann,1.0,1700000000\n")  # fmt: skip
    assert "item '1.0' is in no row of items.csv, which has '1' but not '1.0'; write ids" in line
    tables = _read(
        tmp_path,
        items=items,
        interactions="user,item,time\n7,1,1700000000\n8,1,1700000000\n",
        searches="user,query,time\n7.0,cup,1700000000\n8.0,cup,1700000000\n9.0,cup,1700000000\n",
    )
    warnings = [note for note in tables.meta["notes"] if ".0" in note]
    assert warnings == [
        "warning: 2 users of searches.csv are those of interactions.csv but for .0, such as '7.0' "
        "and '7'; they are taken as different"
    ]


def test_lists_as_python_prints_them(tmp_path: Path):
    searches = "user,query,time,clicked\nann,cup,1699999000,\"['a']\"\n"
    [line] = _faults(tmp_path, searches=searches)
    assert "write a list as ids with blanks or | between them, without brackets" in line


# Lists of ids that hold the separator


@pytest.mark.parametrize("name", ["red tea", "red|tea", "red\ttea"])
def test_ids_that_a_text_list_would_cut_are_refused(name: str, tmp_path: Path):
    items = ITEMS + f"{name},Tea\n"
    [line] = _faults(tmp_path, items=items)
    assert line.startswith(f"items.csv, row 3, column item: {name!r} holds a blank or |, which")
    assert "column clicked of searches.csv has; write lists in Parquet" in line
    assert "--list_separator" in line
    _read(tmp_path, items=items, searches=None)  # without lists nothing is cut
    _read(tmp_path, items=items, searches="user,query,time,clicked\nann,cup,1699999000,\n")
    table = {"user": ["ann"], "query": ["q"], "time": [1_699_999_000], "clicked": [[name, "a"]]}
    tables = _read(tmp_path, items=items, searches=pa.table(table))
    assert tables.search["clicked"].to_pylist() == [[3, 1]]


@pytest.mark.parametrize("sign", [";", ".", "^", "\\", "]"])
def test_a_separator_of_ones_own(sign: str, tmp_path: Path):
    items = ITEMS + "red tea|x,Tea\n"
    lists = f"{sign}red tea|x {sign}a{sign}"
    searches = f"user,query,time,clicked,click_times\nann,q,1699999000,{lists},"
    times = f"2023-11-14 22:13:20{sign} 2023-11-14 22:13:21"
    options = TableOptions(list_separator=sign)
    tables = _read(tmp_path, options, items=items, searches=searches + times + "\n")
    assert tables.search["clicked"].to_pylist() == [[3, 1]]
    [line] = _faults(tmp_path, options, items=items + f"p{sign}q,x\n", searches=searches + "\n")
    assert f"items.csv, row 4, column item: {'p' + sign + 'q'!r} holds {sign!r}" in line


@pytest.mark.parametrize("sign", ["", ";;", "a", "7", "\n"])
def test_separators_that_are_none(sign: str):
    with pytest.raises(InputError, match=r"(?s)--list_separator=.*: use one sign"):
        TableOptions(list_separator=sign)


# Names of columns


RENAMED = {
    "interactions": "user_id,item,ts\nann,a,1700000000\nbob,b,1700000900\n",
    "searches": "user_id,query,when,clicked\nann,cup,1699999000,a\n",
}


def test_columns_of_other_names(tmp_path: Path):
    options = TableOptions(columns=("user=user_id", "time=ts", "searches.time=when"))
    tables, plain = _read(tmp_path, options, **RENAMED), _read(tmp_path)
    for name in ("rec", "search", "users"):
        assert tables.table(name).equals(plain.table(name))
    assert any(note.startswith("interactions.csv: ts is seconds") for note in tables.meta["notes"])


def test_a_name_for_all_tables_need_not_be_in_each(tmp_path: Path):
    renamed = "user_id,item,time\nann,a,1700000000\n"
    tables = _read(tmp_path, TableOptions(columns=("user=user_id",)), interactions=renamed)
    assert tables.users["raw_id"].to_pylist() == ["ann"]


def test_messages_name_the_column_of_the_file(tmp_path: Path):
    options = TableOptions(columns=("time=ts", "user=user_id", "searches.time=when"))
    [line] = _faults(tmp_path, options, **RENAMED | {"interactions": "user_id,item,ts\nann,a,x\n"})
    assert line.startswith("interactions.csv, row 1, column ts: 'x' is no time")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("user", "--columns=user: write NAME=COLUMN, such as user=user_id"),
        ("user=", "--columns=user=: write NAME=COLUMN"),
        ("usr=user_id", "no column usr is known; did you mean user?"),
        ("clicks.user=u", "no table clicks; use interactions, searches, items"),
        ("items.user=u", "no column user is known; use one of item, title"),
        ("user=nobody", "--columns=user=nobody: no file has a column nobody; check the name"),
        ("searches.time=when", "searches.csv, column when: missing"),
    ],
)
def test_names_that_do_not_fit(pair: str, message: str, tmp_path: Path):
    with pytest.raises(InputError) as error:
        _read(tmp_path, TableOptions(columns=(pair,)))
    assert message in str(error.value)


# Times of clicks


NOON = 1_709_294_400


def _clicks(folder: Path, click_times: Any, clicked: Any = None, time: Any = None) -> SourceTables:
    n = len(click_times)
    columns = {
        "user": ["ann"] * n,
        "query": ["q"] * n,
        "time": time if time is not None else [NOON + 100 * i for i in range(n)],
        "clicked": clicked or [["a", "b"]] * n,
        "click_times": click_times,
    }
    return _read(folder, searches=pa.table(columns))


@pytest.mark.parametrize(
    "times",
    [
        [[NOON + 5, NOON + 9], [NOON + 100, NOON + 101]],
        [[(NOON + 5) * 1000, (NOON + 9) * 1000], [(NOON + 100) * 1000, (NOON + 101) * 1000]],
        ["1709294405|1709294409", "1709294500 1709294501"],
        ["2024-03-01 12:00:05|2024-03-01 12:00:09", "2024-03-01 12:01:40 2024-03-01 12:01:41"],
        ["2024-03-01T12:00:05Z 2024-03-01T13:00:09+01:00",
         "2024-03-01T12:01:40Z | 2024-03-01T12:01:41Z"],
        pa.array([[NOON + 5, NOON + 9], [NOON + 100, NOON + 101]], pa.list_(pa.timestamp("s"))),
    ],
)  # fmt: skip
def test_click_times_in_every_form(times: Any, tmp_path: Path):
    tables = _clicks(tmp_path, times)
    assert tables.search["clicked"].to_pylist() == [[1, 2], [1, 2]]
    _parallel(tmp_path, times, [5, 9, 100, 101])


def _parallel(folder: Path, times: Any, seconds: list[int | None], **others: Any) -> None:
    """Reads the column alone, as the search table will have it."""
    _clicks(folder, times, **others)
    faults, notes = Faults(), list[str]()
    source = open_table(folder / "searches.parquet", COLUMNS["searches"], faults, notes)
    assert source is not None
    row, _ = read_id_lists(source, "clicked")
    found = read_click_times(source, row, read_times(source, "time", notes), None, notes)
    faults.stop(folder)
    expected = [second is not None for second in seconds]
    np.testing.assert_array_equal(found.row, row)
    np.testing.assert_array_equal(found.given, expected)
    np.testing.assert_array_equal(
        found.ms[found.given] - NOON * 1000, [1000 * s for s in seconds if s is not None]
    )


def test_times_that_are_not_given(tmp_path: Path):
    times = [None, [], [NOON + 205, None]]
    _parallel(tmp_path, times, [None, None, None, None, 205, None])
    _parallel(tmp_path, pa.nulls(2), [None] * 4)


def test_times_follow_their_clicks_into_the_table():
    """Row 0 of the file is row 1 of the table; an item that is clicked twice has its first time."""
    source = SourceTable(Path("searches.csv"), 2, pa.table({}), Faults())
    shown = Named(source, "shown", pa.array(["c", "a"]), np.array([0, 0]))
    clicked = Named(source, "clicked", pa.array(["a", "b", "a", "c"]), np.array([0, 0, 0, 1]))
    given = np.array([True, False, True, True])
    times = TimeLists(clicked.row, np.array([9, 0, 7, 5]), given)
    items = [np.array([3, 1]), np.array([1, 2, 1, 3])]
    found = _read_results(_Lists(shown, clicked, times), items, np.array([1, 0]), [])
    assert found.off.tolist() == [0, 1, 4]
    assert found.shown.tolist() == [3, 3, 1, 2]
    assert found.is_clicked.tolist() == [True, False, True, True]
    assert found.click_ts.tolist() == [5, 7, -1]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([[NOON], [NOON + 100] * 2], "row 1, column click_times: has 1 times for 2 clicked items"),
        ([[NOON + 1] * 2, [NOON + 99, NOON + 100]], "row 2, column click_times: a click lies befo"),
        ([[NOON, 20231114], [NOON + 100] * 2], "row 1, column click_times: 20231114 looks like a"),
        ([[NOON, NOON * 1000], None], "row 1, column click_times: 1709294400000 looks like milli"),
        (["soon now", None], "row 1, column click_times: 'soon' is no time"),
        ([["a", "b"], None], "row 1, column click_times: 'a' is no time"),
        ([NOON, NOON], "column click_times: has type int64; use a list of times"),
        ([[True, True], None], "column click_times: has type list<element: bool>; give seconds"),
    ],
)  # fmt: skip
def test_click_times_that_do_not_fit(times: Any, message: str, tmp_path: Path):
    with pytest.raises(InputError) as error:
        _clicks(tmp_path, times)
    assert f"searches.parquet, {message}" in str(error.value)


def test_zones_of_one_table_are_not_mixed(tmp_path: Path):
    moment = datetime.datetime(2024, 3, 1, 12)
    times = pa.array([[moment, moment]], pa.list_(pa.timestamp("ms")))
    _clicks(tmp_path, times, time=["2024-03-01T12:00:00"])
    with pytest.raises(InputError, match="click_times: has no zone, column time has one"):
        _clicks(tmp_path, times, time=["2024-03-01T12:00:00Z"])


# Two clocks


def _two(folder: Path, bought: list[Any], searched: list[Any]) -> list[str]:
    users = [f"u{i}" for i in range(len(bought))]
    events = pa.table({"user": users, "item": ["a"] * len(users), "time": bought})
    columns = {"user": users, "query": ["q"] * len(users), "time": searched}
    searches = pa.table(columns | {"clicked": [["a"]] * len(users)})
    notes = _read(folder, interactions=events, searches=searches).meta["notes"]
    return [note for note in notes if note.startswith("warning: ")]


def test_the_reported_case_of_two_clocks(tmp_path: Path):
    bought = [NOON + 7_919 * i + 1 for i in range(6)]
    [late] = _two(tmp_path, bought, [time + 3600 for time in bought])
    assert "100% stand there about 1 h before their search" in late
    days = [f"2024-03-{i + 1:02}" for i in range(6)]
    lines = _two(tmp_path, bought, days)
    assert any("times of searches.parquet are whole days, those of inter" in x for x in lines)
    assert _two(tmp_path, bought, [time - 60 for time in bought]) == []


def test_a_zone_in_one_table_only_is_told(tmp_path: Path):
    bought = [f"2024-03-01T12:00:{i:02}Z" for i in range(3)]
    searched = [f"2024-03-01T11:59:{i:02}" for i in range(3)]
    [line] = _two(tmp_path, bought, searched)
    assert line.startswith("warning: times of interactions.parquet name a zone, those of searches")
