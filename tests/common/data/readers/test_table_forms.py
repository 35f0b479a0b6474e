"""The same content in every kind of file and every type of column is the same dataset."""

from __future__ import annotations

import csv
import decimal
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.readers.table_forms import simplify
from common.data.readers.tables import read_tables
from common.data.schema import TABLES, SourceTables, conform_table, dataset_sha256, table_sha256
from common.errors import InputError

START = 1_700_000_000
ITEMS: dict[str, list[Any]] = {
    "item": ["11", "12", "13", "14"],
    "title": ["Red pot", None, "Cup, blue", 'say "hi"'],
    "category": [["Home", "Pots"], [], ["Home", "Cups"], ["Home"]],
}
INTERACTIONS: dict[str, list[Any]] = {
    "user": ["ann", "bob", "ann"],
    "item": ["11", "12", "14"],
    "time": [START + 60, START + 7200, START + 9000],
    "label": [1, 0, 1],
}
SEARCHES: dict[str, list[Any]] = {
    "user": ["ann", "bob", "eve"],
    "query": ["red pot", 'cup, "x"', "pot"],
    "time": [START, START + 7100, START + 5],
    "clicked": [["11", "14"], ["12", "13"], []],
    "shown": [["12", "11", "14"], [], []],
}
TABLES_OF = {"items": ITEMS, "interactions": INTERACTIONS, "searches": SEARCHES}
ENDINGS = (".csv", ".tsv", ".jsonl")


def sha256(tables: SourceTables) -> str:
    return dataset_sha256(table_sha256(conform_table(name, tables.table(name))) for name in TABLES)


def _flat(column: str, value: Any) -> Any:
    if isinstance(value, list):
        return (" > " if column == "category" else "|").join(value)
    return "" if value is None else value


def write_parquet(table: pa.Table, path: Path, **others: Any) -> None:
    """Skips the test where this version of pyarrow can read a type and not write it."""
    try:
        pq.write_table(table, path, **others)
    except pa.ArrowNotImplementedError as error:
        pytest.skip(f"pyarrow {pa.__version__} does not write it: {error}")


def write_text(folder: Path, name: str, content: dict[str, list[Any]], ending: str) -> None:
    rows = list(zip(*content.values(), strict=True))
    file = io.StringIO()
    if ".jsonl" in ending.lower():
        for row in rows:
            filled = {k: v for k, v in zip(content, row, strict=True) if v is not None}
            file.write(json.dumps(filled) + "\n")
    else:
        writer = csv.writer(file, delimiter="\t" if ".tsv" in ending.lower() else ",")
        writer.writerow(content)
        writer.writerows([[_flat(c, v) for c, v in zip(content, row, strict=True)] for row in rows])
    data = file.getvalue().encode()
    is_packed = ending.lower().endswith(".gz")
    (folder / f"{name}{ending}").write_bytes(gzip.compress(data) if is_packed else data)


def write_all(folder: Path, ending: str = ".csv", **others: Any) -> Path:
    """All tables with one ending, but those that are given (None: not at all)."""
    for name, content in (TABLES_OF | others).items():
        if isinstance(content, pa.Table):
            write_parquet(content, folder / f"{name}.parquet")
        elif content is not None:
            write_text(folder, name, content, ending)
    return folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return sha256(read_tables(write_all(tmp_path_factory.mktemp("csv"))))


@pytest.mark.parametrize(
    "ending",
    [*ENDINGS, *(f"{end}.gz" for end in ENDINGS), ".CSV", ".Tsv", ".JSONL", ".CSV.GZ", ".jsonl.GZ"],
)
def test_every_ending(ending: str, tmp_path: Path, expected: str):
    assert sha256(read_tables(write_all(tmp_path, ending))) == expected


def _strings(kind: pa.DataType) -> Any:
    return lambda values: pa.array(values, kind)


def _dictionary(values: list[Any]) -> pa.Array:
    flat = pa.array([v for value in values for v in value]).dictionary_encode()
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value))
    return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat)


LISTS = {
    "list": _strings(pa.list_(pa.string())),
    "large list": _strings(pa.large_list(pa.large_string())),
    "list view": _strings(pa.list_view(pa.string())),
    "large list view": _strings(pa.large_list_view(pa.string())),
    "list of string views": _strings(pa.list_(pa.string_view())),
    "list of dictionary": _dictionary,
    "list of integers": lambda values: pa.array([[int(v) for v in value] for value in values]),
    "list of unsigned": lambda values: pa.array(
        [[int(v) for v in value] for value in values], pa.large_list(pa.uint64())
    ),
    "list of decimals": lambda values: pa.array(
        [[decimal.Decimal(v) for v in value] for value in values],
        pa.list_(pa.decimal128(18, 0)),
    ),
    "text": lambda values: pa.array([" ".join(value) for value in values], pa.large_string()),
    "dictionary of texts": lambda values: pa.array(
        [" | ".join(value) for value in values]
    ).dictionary_encode(),
}


def _kept(array: pa.Array) -> pa.Table:
    return pa.table(SEARCHES | {"clicked": array})


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("stored", [True, False], ids=["arrow types kept", "not kept"])
def test_every_list_of_parquet(kind: str, stored: bool, tmp_path: Path, expected: str):
    table = pa.table(SEARCHES | {"clicked": LISTS[kind](SEARCHES["clicked"])})
    write_all(tmp_path, searches=None)
    write_parquet(table, tmp_path / "searches.parquet", store_schema=stored, row_group_size=2)
    assert sha256(read_tables(tmp_path)) == expected


def test_fixed_size_and_null_lists(tmp_path: Path):
    """Lists of one length, some null; lists that hold nothing at all."""
    lists = [["11", "14"], None, ["12", "13"]]
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, kind, nothing in (
        (one, pa.list_(pa.string(), 2), pa.array([[], [], None], pa.list_(pa.null()))),
        (other, pa.list_(pa.string()), pa.nulls(3)),
    ):
        folder.mkdir()
        columns = {"clicked": pa.array(lists, kind), "shown": nothing}
        write_all(folder, searches=pa.table(SEARCHES | columns))
    tables = read_tables(one)
    assert tables.search["clicked"].to_pylist() == [[1, 4], [], [2, 3]]
    assert sha256(tables) == sha256(read_tables(other))


IDS = {
    "integers": lambda v: pa.array([int(i) for i in v], pa.int32()),
    "unsigned": lambda v: pa.array([int(i) for i in v], pa.uint64()),
    "decimals": lambda v: pa.array([decimal.Decimal(i) for i in v], pa.decimal128(20, 0)),
    "decimals with zeros": lambda v: pa.array([decimal.Decimal(i) for i in v], pa.decimal128(9, 2)),
    "dictionary": lambda v: pa.array(v).dictionary_encode(),
    "string view": _strings(pa.string_view()),
    "large string": _strings(pa.large_string()),
}


@pytest.mark.parametrize("kind", IDS)
def test_every_id_of_parquet(kind: str, tmp_path: Path, expected: str):
    item = IDS[kind](INTERACTIONS["item"])
    columns = {"item": item, "__index_level_0__": [5, 6, 7]}
    tables = read_tables(write_all(tmp_path, interactions=pa.table(INTERACTIONS | columns)))
    assert sha256(tables) == expected
    assert not [note for note in tables.meta["notes"] if "not read" in note]


def test_ids_beyond_64_bits(tmp_path: Path):
    large = 2**64 + 7
    ids = pa.array([decimal.Decimal(large)] * 3, pa.decimal128(38, 0))
    items = pa.table({"item": [str(large), *ITEMS["item"]]})
    interactions = pa.table(INTERACTIONS | {"item": ids})
    tables = read_tables(write_all(tmp_path, items=items, interactions=interactions))
    assert tables.items["raw_id"].to_pylist()[-1] == str(large)
    assert tables.rec["item"].to_pylist() == [5, 5, 5]


def test_lists_of_paths_take_the_first_and_say_so(tmp_path: Path, expected: str):
    paths = [[["Home", "Pots"], ["Gifts"]], [], [["Home", "Cups"]], [["Home"]]]
    items = pa.table(ITEMS | {"category": pa.array(paths, pa.large_list(pa.list_(pa.string())))})
    tables = read_tables(write_all(tmp_path, items=items))
    assert sha256(tables) == expected
    note = "category holds lists of paths; the first of each is taken, 1 items have more"
    assert f"items.parquet: {note}" in tables.meta["notes"]


# Folders


def _split(folder: Path, table: pa.Table, *names: str) -> None:
    for i, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(table.slice(i, len(table) if name == names[-1] else 1), path)


def test_a_folder_as_spark_writes_it(tmp_path: Path, expected: str):
    write_all(tmp_path, interactions=None)
    folder = tmp_path / "interactions.parquet"
    _split(folder, pa.table(INTERACTIONS), "part-00000.snappy.parquet", "part-00001.parquet")
    for name in ("_SUCCESS", ".part-00000.snappy.parquet.crc"):
        (folder / name).write_text("")
    tables = read_tables(tmp_path)
    assert sha256(tables) == expected
    assert [source["file"] for source in tables.meta["sources"]] == [
        "interactions.parquet/part-00000.snappy.parquet",
        "interactions.parquet/part-00001.parquet", "searches.csv", "items.csv",
    ]  # fmt: skip


def test_folders_named_by_values_give_columns(tmp_path: Path, expected: str):
    write_all(tmp_path, interactions=None)
    table, folder = pa.table(INTERACTIONS), tmp_path / "interactions.parquet"
    for label, rows in ((0, [1]), (1, [0, 2])):
        part = table.take(rows).drop_columns("label")
        path = folder / f"label={label}" / "city=S%C3%A3o" / "data_0.parquet"
        path.parent.mkdir(parents=True)
        write_parquet(part, path)
    tables = read_tables(tmp_path)
    assert sha256(tables) == expected
    assert "interactions.parquet: columns not read: city" in tables.meta["notes"]


def test_rows_of_folders_are_named_with_their_file(tmp_path: Path):
    write_all(tmp_path, interactions=None)
    table = pa.table(INTERACTIONS | {"item": ["11", "x", "y"]})
    _split(tmp_path / "interactions.parquet", table, "a.parquet", "b.parquet")
    with pytest.raises(InputError, match=r"b\.parquet, row 1, column item: item 'x'.*2 'y'"):
        read_tables(tmp_path)


def test_folders_that_do_not_fit(tmp_path: Path):
    write_all(tmp_path, interactions=None)
    folder = tmp_path / "interactions.parquet"
    folder.mkdir()
    with pytest.raises(InputError, match=r"interactions\.parquet: holds no Parquet files"):
        read_tables(tmp_path)
    write_parquet(pa.table(INTERACTIONS), folder / "a.parquet")
    write_parquet(pa.table(INTERACTIONS | {"item": [[1], [2], [3]]}), folder / "b.parquet")
    with pytest.raises(InputError, match="its files do not fit together"):
        read_tables(tmp_path)
    (folder / "b.parquet").unlink()
    (folder / "rows.csv").write_text("user,item,time\n")
    with pytest.raises(InputError, match=r"rows\.csv: is no Parquet file, as the folder's are"):
        read_tables(tmp_path)


# What does not fit


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (pa.array([{"a": 1}] * 3), "column label: has type struct<a: int64>; it is 0 or 1"),
        (pa.array([1, 2, 3], pa.date32()), "column label: has type date32.day.; it is 0 or 1"),
        (pa.array([b"1"] * 3), "column label: has type binary; it is 0 or 1"),
        (pa.array([[1]] * 3), "column label: has type list<element: int64>; it is 0 or 1"),
        (pa.array([decimal.Decimal("0.5")] * 3), "row 1, column label: 0.5 is neither 0 nor 1"),
        (pa.array([2**64 - 1, 1, 0], pa.uint64()), "row 1, column label: 184467440737095516"),
        (pa.array([1.5] * 3, pa.float16()), "row 1, column label: 1.5 is neither 0 nor 1"),
        (pa.nulls(3), "row 1, column label: is null"),
    ],
)  # fmt: skip
def test_labels_of_other_types(label: pa.Array, message: str, tmp_path: Path):
    interactions = pa.table(INTERACTIONS | {"label": label})
    with pytest.raises(InputError, match=rf"interactions\.parquet, {message}") as error:
        read_tables(write_all(tmp_path, interactions=interactions))
    assert "\n" not in str(error.value)


def _broken(kind: pa.DataType) -> pa.Array:
    """Texts of which the second is no UTF-8."""
    return pa.array([b"ann", b"\xff\xfe", b"eve"], pa.binary()).view(kind)


@pytest.mark.parametrize("column", ["user", "query", "clicked", "time"])
def test_texts_that_are_no_utf8(column: str, tmp_path: Path):
    array = _broken(pa.string())
    if column == "clicked":
        array = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), array)
    searches = pa.table(SEARCHES | {column: array})
    with pytest.raises(InputError, match=rf"row 2, column {column}: is not UTF-8") as error:
        read_tables(write_all(tmp_path, searches=searches))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"item": "11"}', "[1]"], "row 2: is no JSON object"),
        (['{"item": "11"}', "", "{item: 2}"], "row 3: is no JSON; write"),
        (['{"item": "11"}', '{"item": 12}'], "row 2, column item: is another kind of value than a"),
        (['{"item": "11", "item": "12"}'], "row 1: has a key twice"),
        (['{"item": "11", "title": "\\ud800"}'], "row 1, column title: is too large, of mixed"),
        (['{"item": ' + "[" * 100_000], "row 1: is n"),
        (['{"item": NaN}'], "row 1: has NaN, which is no JSON"),
        (['{"item": 1e400}'], "column item: has type double; ids are strings or integers"),
        (['{"itm": "11"}'], "column item: missing; did you mean itm"),
        ([b'{"item": "\xff"}'], "row 1: is not UTF-8"),
        (["version https://git-lfs.github.com/spec/v1"], "is a Git LFS pointer"),
    ],
)  # fmt: skip
def test_bad_json_lines(lines: list[Any], message: str, tmp_path: Path):
    write_all(tmp_path, items=None)
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    (tmp_path / "items.jsonl").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_tables(tmp_path)


@pytest.mark.parametrize("cut", [0, 5, -9])
def test_damaged_gzip(cut: int, tmp_path: Path):
    write_all(tmp_path, ".csv.gz")
    path = tmp_path / "items.csv.gz"
    data = path.read_bytes()
    path.write_bytes(data[:cut] if cut else b"item\n11\n")
    with pytest.raises(InputError, match=r"items\.csv\.gz: .*gzip") as error:
        read_tables(tmp_path)
    assert "\n" not in str(error.value)


def test_a_header_of_100_000_columns_is_quick(tmp_path: Path):
    write_all(tmp_path)
    more = [f"column{i}" for i in range(100_000)]
    path = tmp_path / "items.csv"
    path.write_text(f"item,{','.join(more)}\n11{',' * 100_000}\n12{',' * 100_000}\n")
    with pytest.raises(InputError, match="item '14' is in no row"):
        read_tables(tmp_path)
    path.write_text(f"itme,{','.join(more)}\n11{',' * 100_000}\n")
    with pytest.raises(InputError, match="column item: missing; did you mean itme"):
        read_tables(tmp_path)


VALUES = st.lists(st.none() | st.lists(st.sampled_from(["a", "bb", ""]), max_size=3), max_size=6)


def test_codes_of_views_are_their_texts():
    views = pa.array(["a", "b", None], pa.string_view())
    codes = pa.DictionaryArray.from_arrays(pa.array([1, 2, 0, None]), views)
    simple = simplify(pa.chunked_array([codes]))
    assert (simple.type, simple.to_pylist()) == (pa.string(), ["b", None, "a", None])


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    values=VALUES, kind=st.sampled_from(["list", "large list", "list view"]), cut=st.integers(0, 3)
)
def test_lists_in_one_form_hold_the_same(values, kind, cut):
    array = LISTS[kind](values).slice(cut)
    simple = simplify(pa.chunked_array([array, array]))
    assert simple.type == pa.large_list(pa.string())
    assert simple.to_pylist() == array.to_pylist() * 2
