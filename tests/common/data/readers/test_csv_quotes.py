"""Quotes that swallow lines: each is an error with its row; whole CSV is read as it is."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.readers import csv_quotes
from common.data.readers.csv_quotes import LineBreaks, check_quotes
from common.data.readers.tables import read_tables
from common.errors import InputError

ITEMS = "item,title\na,Cup\nb,Pot\n"
INTERACTIONS = "user,item,time\nu0,a,1700000000\nu3,b,1700000900\n"


def _read(folder: Path, searches: str, items: str = ITEMS, name: str = "searches.csv"):
    (folder / "items.csv").write_text(items)
    (folder / "interactions.csv").write_text(INTERACTIONS)
    (folder / name).write_text(searches, newline="")
    return read_tables(folder)


SWALLOW = """user,query,time
u0,"harry potter,1700000100
u1,pot,1700000200
u2,cup,1700000300
u3,"lotr,1700000400
"""


def test_the_reported_case_names_both_quotes(tmp_path: Path):
    with pytest.raises(InputError) as error:
        _read(tmp_path, SWALLOW)
    lines = str(error.value).splitlines()
    assert lines[0].endswith("2 faults; mend them, then start the same command again")
    assert "searches.csv, row 1, column query: goes on after the quote" in lines[1]
    assert "searches.csv, row 4, column query: opens with a quote" in lines[2]


@pytest.mark.parametrize(
    ("searches", "place"),
    [
        ('user,query,time\nu0,"harry,1700000100\nu1,pot,1700000200\n', "1, column query: opens"),
        # Both quotes pair up, and the swallowed rows have as many values as one row.
        ('user,query,time\nu0,"harry,1700000100\nu1,pot",1700000200\n', "1, column query: has"),
        ('user,query,time\nu0,x,1700000000\nu0,"a, b,1700000100\nu1,c",1700000200\n', "2, column"),
        ('user,query,time\nu0,"a,17\n\nu1,b,18\r\nu2,c",19\n', "1, column query: has"),
        ('query,time,user\n"harry,1700000100,u0\npot",1700000200,u1\n', "1, column query: has"),
        ('user,time,query\nu0,1700000100,"harry\nu1,1700000100,pot"\n', "1, column query: has"),
        ('user,query,time\n"u0,a,1700000100\nu1",b,1700000200\n', "1, column user: has"),
        ('user,query,time,clicked\nu0,q,1700000100,"a\nu1,r,1700000200,b"\n', "1, column click"),
        ('user,query,time,page\nu0,q,1700000100,"a\nu1,r,1700000200,b"\n', "1, column page"),
        ('user,query,time\nu0,x,1700000100\nu0,"12""" disk,1700000200\n', "2, column quer"),
        ('user,query,time\nu0,"say ""hi"",1700000200\n', "1, column query: opens"),
    ],
)  # fmt: skip
def test_a_stray_quote_is_told(searches: str, place: str, tmp_path: Path):
    with pytest.raises(InputError, match=rf"searches\.csv, row {place}"):
        _read(tmp_path, searches)


def test_a_stray_quote_of_tab_separated_text(tmp_path: Path):
    with pytest.raises(InputError, match=r"searches\.tsv, row 4, column query: opens with"):
        _read(tmp_path, SWALLOW.replace(",", "\t"), name="searches.tsv")


def test_rows_after_a_stray_quote_are_checked_too(tmp_path: Path):
    rows = 'u0,"harry,1700000100\nu1,pot,soon\n,"cup",1700000300\nu3,lotr,1700000400,x\n'
    with pytest.raises(InputError) as error:
        _read(tmp_path, "user,query,time\n" + rows)
    for part in (
        "row 1, column query: goes on after",
        "row 2, column time: 'soon' is no number",
        "row 3, column user: is empty",
        "row 4: is no CSV (4 values, the header has 3)",
    ):
        assert f"searches.csv, {part}" in str(error.value)


def test_many_stray_quotes_are_counted_and_five_are_named(tmp_path: Path):
    rows = "".join(f'u,"q{i},1700000{i:03}\n' for i in range(101))
    with pytest.raises(InputError) as error:
        _read(tmp_path, "user,query,time\n" + rows)
    assert "row 1, column query: goes on after" in str(error.value)
    assert "(100 rows: 1, 2, 3, 4, 5 ...)" in str(error.value)
    assert "row 101, column query: opens" in str(error.value)


def test_quotes_as_letters_and_meant_line_breaks_are_read(tmp_path: Path):
    searches = (
        'user,query,time\nu0,12" disk,1700000100\nu1,"a\nb",1700000200\nu2,"x, ""y""",1700000300\n'
    )
    items = 'item,title\na,"one\ntwo, three"\nb,Pot\n'
    tables = _read(tmp_path, searches, items)
    assert tables.queries["text"].to_pylist() == ['12" disk', "a b", 'x, "y"']
    assert tables.items["title"].to_pylist() == ["one\ntwo, three", "Pot"]
    for name in ("items", "searches"):
        assert f"{name}.csv: 1 rows have line breaks in quotes" in tables.meta["notes"]


def test_swallowed_items_are_told(tmp_path: Path):
    items = 'item,title,brand\na,"Cup,Leaf\nb,Pot",Forge\n'
    with pytest.raises(InputError, match=r"items\.csv, row 1, column title: has a quote"):
        _read(tmp_path, "user,query,time\n", items)


BREAKS = LineBreaks(("a", "b", "c"), never=(), prose=True)
VALUES = st.text(st.sampled_from('x", \n'), max_size=4)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(rows=st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=6), part=st.integers(1, 40))
def test_what_a_csv_writer_writes_has_no_unpaired_quotes(rows, part):
    """Whatever the parts in which the bytes are looked at."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([("a", "b", "c"), *rows])
    before, csv_quotes._PART = csv_quotes._PART, part
    try:
        found = check_quotes(file.getvalue().encode(), b",", BREAKS)
    finally:
        csv_quotes._PART = before
    assert not found.stray or found.stray[0].what == csv_quotes.SWALLOWED
    if not any("\n" in value for row in rows for value in row):
        assert found == csv_quotes.Quotes()


@settings(derandomize=True, deadline=None, max_examples=300)
@given(
    lines=st.lists(st.text(st.sampled_from('x",'), min_size=1, max_size=8), min_size=1, max_size=6)
)
def test_strays_are_where_a_naive_reader_finds_them(lines):
    """One line at a time, as long as no value runs on: then a strict reader is the oracle."""
    text = "a,b,c\n" + "\n".join(lines) + "\n"
    expected = []
    for row, line in enumerate(lines, 1):
        try:
            list(csv.reader([line], strict=True))
        except csv.Error:
            expected.append(row)
    found = check_quotes(text.encode(), b",", LineBreaks(("a", "b", "c"), ("a", "b", "c"), False))
    # Values may not run on here, so each line stands alone; an end that is wrong for the line
    # before, and right for this one alone, is none of the reader's faults.
    assert [quote.row for quote in found.stray] == expected
