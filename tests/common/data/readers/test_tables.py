"""Your own tables: every shape that is read, and one line for everything that is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.tables import read_tables
from common.data.schema import SourceTables
from common.errors import InputError

START = 1_700_006_400  # a midnight, in seconds

ITEMS = """item,title,category,brand,text
b,Pot, Kitchen > Pots ,Forge,
a,Cup,Kitchen > Cups,,to drink
c,,,Forge,
"""
INTERACTIONS = f"""user,item,time,label
zoe,b,{START + 60},1
adi,a,{START + 60},0
zoe,a,{START},1
"""
SEARCHES = f"""user,query,time,clicked,shown
zoe,Red  Pot,{START + 60},b,c b
bob,cup,{START + 5},,
zoe,red pot,{START + 60},a|c,
"""


def _write(folder: Path, **files: str | bytes | pa.Table | None) -> Path:
    """Writes items, interactions and searches, with other content where it is given."""
    content = {"items": ITEMS, "interactions": INTERACTIONS, "searches": SEARCHES} | files
    for name, text in content.items():
        if isinstance(text, pa.Table):
            pq.write_table(text, folder / f"{name}.parquet")
        elif text is not None:
            data = text if isinstance(text, bytes) else text.encode()
            (folder / f"{name}.csv").write_bytes(data)
    return folder


def _columns(tables: SourceTables, name: str, *columns: str) -> list[tuple[Any, ...]]:
    picked = tables.table(name).select(list(columns)).to_pydict()
    return list(zip(*(picked[column] for column in columns), strict=True))


def test_three_csv_files(tmp_path: Path):
    tables = read_tables(_write(tmp_path))
    start = START * 1000
    assert tables.users["raw_id"].to_pylist() == ["adi", "bob", "zoe"]
    assert _columns(tables, "items", "raw_id", "title", "text", "brand", "cat_2") == [
        ("a", "Cup", "to drink", 0, 1), ("b", "Pot", None, 1, 2), ("c", None, None, 1, 0),
    ]  # fmt: skip
    assert tables.items["cat_path"].to_pylist() == [["Kitchen", "Cups"], ["Kitchen", "Pots"], []]
    assert _columns(tables, "rec", "user", "ts_ms", "seq", "item", "label") == [
        (1, start + 60_000, 0, 1, 0), (3, start, 0, 1, 1), (3, start + 60_000, 0, 2, 1),
    ]  # fmt: skip
    # Ties: interactions first, then searches in file order.
    assert _columns(tables, "search", "user", "ts_ms", "seq", "query", "shown", "clicked") == [
        (2, start + 5_000, 0, 1, [], []),
        (3, start + 60_000, 1, 2, [3, 2], [2]),
        (3, start + 60_000, 2, 2, [1, 3], [1, 3]),
    ]
    assert tables.search["clicks"].to_pylist() == [[], [0, 1], [1, 1]]
    assert _columns(tables, "queries", "text", "tok") == [("cup", [1]), ("red pot", [3, 2])]
    assert tables.tokens["word"].to_pylist() == ["cup", "pot", "red"]
    assert tables.meta["time_resolution"] == "s"
    assert tables.meta["name"] == tmp_path.name
    assert [source["file"] for source in tables.meta["sources"]] == [
        "interactions.csv", "searches.csv", "items.csv",
    ]  # fmt: skip


def test_parquet_says_the_same_as_csv(tmp_path: Path):
    csv, parquet = tmp_path / "csv", tmp_path / "parquet"
    for folder in (csv, parquet):
        folder.mkdir()
    time = pa.array([START + 60, START + 60, START], pa.int64())
    _write(csv)
    _write(
        parquet,
        items=pa.table(
            {
                "item": pa.array(["b", "a", "c"]).dictionary_encode(),
                "title": pa.array(["Pot", "Cup", None], pa.large_string()),
                "category": [["Kitchen", "Pots"], ["Kitchen", "Cups"], None],
                "brand": ["Forge", None, "Forge"],
                "text": [None, "to drink", None],
            }
        ),
        interactions=pa.table(
            {
                "user": ["zoe", "adi", "zoe"],
                "item": ["b", "a", "a"],
                "time": time.cast(pa.timestamp("s")),
                "label": [True, False, True],
            }
        ),
        searches=pa.table(
            {
                "user": ["zoe", "bob", "zoe"],
                "query": ["Red  Pot", "cup", "red pot"],
                "time": pa.array([START + 60, START + 5, START + 60], pa.float64()),
                "clicked": [["b"], [], ["a", "c"]],
                "shown": [["c", "b"], None, []],
            }
        ),
    )
    tables = [read_tables(folder) for folder in (csv, parquet)]
    for name in ("users", "items", "queries", "tokens", "rec", "search"):
        assert tables[0].table(name).equals(tables[1].table(name)), name


def test_searches_may_be_absent_or_empty(tmp_path: Path):
    for searches in (None, "user,query,time\n"):
        tables = read_tables(_write(tmp_path, searches=searches))
        assert (tables.search.num_rows, tables.queries.num_rows, tables.users.num_rows) == (0, 0, 2)


def test_integer_ids_are_strings(tmp_path: Path):
    ids = pa.table({"item": pa.array([10, 9], pa.int64())})
    events = pa.table({"user": pa.array([7], pa.uint8()), "item": pa.array([9]), "time": [5]})
    tables = read_tables(_write(tmp_path, items=ids, interactions=events, searches=None))
    assert tables.items["raw_id"].to_pylist() == ["10", "9"]
    assert _columns(tables, "rec", "user", "item", "ts_ms") == [(1, 2, 5000)]


def test_a_seq_orders_events_of_one_time(tmp_path: Path):
    tables = read_tables(
        _write(
            tmp_path,
            interactions="user,item,time,seq\nu,a,9,3\nu,b,9,1\n",
            searches="user,query,time,seq\nu,q,9,2\n",
        )
    )
    assert _columns(tables, "rec", "item", "seq") == [(2, 0), (1, 2)]
    assert _columns(tables, "search", "seq") == [(1,)]


def test_items_count_once_per_search(tmp_path: Path):
    searches = "user,query,time,clicked,shown\nu,q,9, a  | a b,b b\n"
    tables = read_tables(_write(tmp_path, searches=searches))
    assert _columns(tables, "search", "shown", "clicked") == [([2, 1], [2, 1])]
    assert "searches.csv: 1 clicked items were not among those shown" in tables.meta["notes"]


def test_quotes_byte_order_marks_and_other_columns(tmp_path: Path):
    items = '\ufeffitem,title,price\n"a,1","say ""hi""\nthere",3\n'
    events = 'user,item,time\nu,"a,1",9\n'
    tables = read_tables(_write(tmp_path, items=items, interactions=events, searches=None))
    assert _columns(tables, "items", "raw_id", "title") == [("a,1", 'say "hi"\nthere')]
    assert tables.meta["notes"] == [
        "items.csv: 1 rows have line breaks in quotes",
        "items.csv: columns not read: price",
        "interactions.csv: time is small numbers, taken as seconds of a clock of its own; "
        "1970-01-01 00:00:09 to 1970-01-01 00:00:09",
    ]


# What does not fit


@pytest.mark.parametrize(
    ("files", "message"),
    [
        # columns
        ({"interactions": "usr,item,time\nu,a,1\n"}, "interactions.csv, column user: missing; did "
         "you mean usr?"),
        ({"interactions": "User,item,time\nu,a,1\n"}, "column user: missing; did you mean User?"),
        ({"interactions": "u,a,1\nv,b,2\n"}, "column user: missing; the file has u, a, 1"),
        ({"interactions": "user;item;time\nu;a;1\n"}, "column user: missing; the file has user;i"),
        ({"interactions": "user,item,time,lable\nu,a,1,0\n"}, "column lable: not known, did you "
         "mean label?"),
        ({"searches": "user,query,time,click\nu,q,1,a\n"}, "column click: not known, did you mean "
         "clicked?"),
        ({"items": "item,item\na,b\n"}, "items.csv, column item: stands twice"),
        # ids
        ({"interactions": "user,item,time\nu,a,1\n,a,1\n"}, "interactions.csv, row 2, column "
         "user: is empty"),
        ({"interactions": "user,item,time\nu, ,1\n"}, "row 1, column item: is empty"),
        ({"interactions": "user,item,time\nu,a,1\nu,x,1\n"}, "interactions.csv, row 2, column "
         "item: item 'x' is in no row of items.csv"),
        ({"searches": "user,query,time,clicked\nu,q,1,a\nu,q,2,a b|y\n"}, "searches.csv, row 2, "
         "column clicked: item 'y' is in no row of items.csv"),
        ({"searches": "user,query,time,shown\nu,q,1,y\n"}, "searches.csv, row 1, column shown: "
         "item 'y'"),
        ({"items": "item\na\nb\nc\na\n"}, "items.csv, row 4, column item: 'a' stands in an"),
        ({"items": "item\na\nb\n \n"}, "items.csv, row 3, column item: is empty"),
        # other values
        ({"searches": "user,query,time\nu,q,1\nu,,2\n"}, "searches.csv, row 2, column query: is"),
        ({"interactions": "user,item,time\nu,a,soon\n"}, "interactions.csv, row 1, column time: "
         "'soon' is no time"),
        ({"interactions": "user,item,time,label\nu,a,1,2\n"}, "row 1, column label: '2' is"),
        ({"interactions": "user,item,time,seq\nu,a,1,x\n"}, "row 1, column seq: 'x' is no whole"),
        # files
        ({"interactions": "user,item,time\n"}, "interactions.csv: has no rows"),
        ({"items": "item\n"}, "items.csv: has no rows"),
        ({"interactions": ""}, "interactions.csv: is no CSV"),
        ({"interactions": "user,item,time\nu,a,1\nu,a\n"}, "interactions.csv, row 2: is no CSV"),
        ({"interactions": b"user,item,time\nu,a,1\n\xff,a,1\n"}, "interactions.csv.* is no CSV"),
        ({"interactions": b"user,item,time\nu,a,1\n\xff,a\n"}, "interactions.csv, row 2: is no CS"),
        ({"interactions": b"us\xe9r,item,time\nu,a,1\n"}, "is no CSV .the header is not UTF-8."),
        ({"interactions": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00"}, "interactions.csv: is no"),
        ({"interactions": b"version https://git-lfs.github.com/spec/v1\n"}, "is a Git LFS pointer"),
        ({"items": None}, "has neither items.csv nor items.parquet"),
        ({"interactions": None}, "has neither interactions.csv nor interactions.parquet"),
        ({"searches": None, "search": SEARCHES}, "search.csv: not known, did you mean searches?"),
    ],
)  # fmt: skip
def test_bad_csv(files: dict[str, Any], message: str, tmp_path: Path):
    with pytest.raises(InputError, match=message.replace("?", r"\?")) as error:
        read_tables(_write(tmp_path, **files))
    assert "\n" not in str(error.value)


EVENTS = {"user": ["u", "u"], "item": ["a", "b"], "time": [1, 2]}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user": ["u", None]}, "row 2, column user: is null"),
        ({"item": pa.nulls(2)}, "row 1, column item: is null"),
        ({"user": [1.0, 2.0]}, "column user: has type double; ids are strings or integers"),
        ({"user": [["u"], ["u"]]}, "column user: has type list"),
        ({"time": [1, None]}, "row 2, column time: is null"),
        ({"label": [1, None]}, "row 2, column label: is null"),
        ({"label": [1.0, 0.5]}, "row 2, column label: 0.5 is neither 0 nor 1"),
        ({"seq": [0.5, 1.0]}, "column seq: has type double"),
        ({"seq": [1, None]}, "row 2, column seq: is null"),
        (
            {"seq": pa.array([1, 2**63], pa.uint64())},
            "row 2, column seq: 9223372036854775808 is too",
        ),
    ],
)
def test_bad_parquet_columns(columns: dict[str, Any], message: str, tmp_path: Path):
    _write(tmp_path, interactions=pa.table(EVENTS | columns))
    with pytest.raises(InputError, match=r"interactions\.parquet, " + message):
        read_tables(tmp_path)


def test_bad_lists(tmp_path: Path):
    search = {"user": ["u", "u"], "query": ["q", "r"], "time": [1, 2]}
    for clicked, message in (
        ([["a"], ["b", None]], "row 2, column clicked: has a null in its list"),
        ([1, 2], "column clicked: has type int64; use a list of ids"),
    ):
        _write(tmp_path, searches=pa.table(search | {"clicked": clicked}))
        (tmp_path / "searches.csv").unlink(missing_ok=True)
        with pytest.raises(InputError, match=r"searches\.parquet, " + message):
            read_tables(tmp_path)


def test_a_truncated_parquet_file(tmp_path: Path):
    path = _write(tmp_path, interactions=pa.table(EVENTS)) / "interactions.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"interactions\.parquet: cut short or no Parquet file"):
        read_tables(tmp_path)


def test_two_files_for_one_table(tmp_path: Path):
    _write(tmp_path)
    _write(tmp_path, interactions=pa.table(EVENTS))
    with pytest.raises(InputError, match=r"has interactions\.csv and interactions\.parquet"):
        read_tables(tmp_path)


def test_no_folder(tmp_path: Path):
    with pytest.raises(InputError, match="no such folder; check --raw"):
        read_tables(tmp_path / "nowhere")


# Determinism


def _log(seed: int) -> dict[str, pa.Table]:
    """Events at distinct times: then the order of the rows says nothing."""
    rng = np.random.default_rng(seed)
    times = START + rng.permutation(150)
    users, items = (np.array([f"{c}{i}" for i in range(n)]) for c, n in (("u", 8), ("i", 30)))
    return {
        "items": pa.table({"item": items, "brand": items[rng.integers(30, size=30)]}),
        "interactions": pa.table(
            {
                "user": users[np.arange(100) % 8],
                "item": items[rng.integers(30, size=100)],
                "time": times[:100],
            }
        ),
        "searches": pa.table(
            {
                "user": users[np.arange(50) % 8],
                "query": [f"word{i % 7} word{i % 3}" for i in range(50)],
                "time": times[100:],
                "clicked": [" ".join(items[i % 30 : i % 30 + i % 3]) for i in range(50)],
            }
        ),
    }


@settings(
    derandomize=True,
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 1000))
def test_shuffled_rows_give_the_same_dataset(seed, tmp_path_factory):
    rng = np.random.default_rng(seed)
    manifests = []
    for shuffle in (False, True):
        raw = tmp_path_factory.mktemp("raw")
        for name, table in _log(3).items():
            order = rng.permutation(len(table)) if shuffle else np.arange(len(table))
            if shuffle and seed % 2:
                pyarrow.csv.write_csv(table.take(pa.array(order)), raw / f"{name}.csv")
            else:
                pq.write_table(table.take(pa.array(order)), raw / f"{name}.parquet")
        settings_ = PrepareSettings(negatives=4)
        manifests.append(write_dataset(raw / "out", read_tables(raw), settings_))
    for key in ("sha256", "tables", "splits", "candidates"):
        assert manifests[0][key] == manifests[1][key]
