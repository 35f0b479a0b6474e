"""Which file is which table; whatever only looks like one is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from common.data.readers.tables import read_tables
from common.errors import InputError

FILES = {
    "items.csv": "item\na\n",
    "interactions.csv": "user,item,time\nu,a,1700000000\n",
}


def _write(folder: Path, *left_out: str) -> Path:
    for name, text in FILES.items():
        if name not in left_out:
            (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("searches.xlsx", "is not read, for its ending; use .csv, .tsv, .jsonl"),
        ("Searches.txt", "is not read, for its ending"),
        ("searches", "is not read, for its ending"),
        ("searches.csv.zip", "is not read, for its ending"),
        ("searches.parquet.gz", "is not read, for its ending"),
        ("searches.json", "is not read, for its ending"),
        ("searches.csv.bak", "is not read, for its ending"),
        ("Searches.csv", "not known, did you mean searches.csv? rename it"),
        ("search.csv", "not known, did you mean searches? rename it"),
        ("search.xlsx", "not known, did you mean searches? rename it"),
        ("search_log.parquet", "not known, did you mean searches? rename it"),
        ("serches.jsonl", "not known, did you mean searches? rename it"),
        ("my_searches.tsv", "not known, did you mean searches? rename it"),
    ],
)
def test_what_looks_like_a_table_is_refused(name: str, message: str, tmp_path: Path):
    (_write(tmp_path) / name).write_text("user,query,time\n")
    with pytest.raises(InputError) as error:
        read_tables(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / name}: {message}")


@pytest.mark.parametrize("name", ["items.csv", "interactions.jsonl.gz"])
def test_folders_pipes_and_links(name: str, tmp_path: Path):
    path = _write(tmp_path, "items.csv", "interactions.csv") / name
    other = "interactions.csv" if name == "items.csv" else "items.csv"
    (tmp_path / other).write_text(FILES[other])
    for make, message in (
        (path.mkdir, "is a folder, not a file"),
        (lambda: os.mkfifo(path), "is a pipe or a device, not a file"),
        (lambda: path.symlink_to(path), "is a link that leads nowhere"),
        (lambda: path.symlink_to(tmp_path / "gone"), "is a link that leads nowhere"),
    ):
        make()
        with pytest.raises(InputError) as error:
            read_tables(tmp_path)
        assert str(error.value).startswith(f"{path}: {message}")
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def test_a_link_to_a_file_and_other_files_are_no_fault(tmp_path: Path):
    _write(tmp_path, "items.csv")
    (tmp_path / "list").write_text(FILES["items.csv"])
    (tmp_path / "items.csv").symlink_to(tmp_path / "list")
    for name in (
        "prices.csv",
        "README.md",
        ".searches.csv.swp",
        "~$searches.xlsx",
        "stock.parquet",
    ):
        (tmp_path / name).write_text("x\n")
    notes = read_tables(tmp_path).meta["notes"]
    assert [note for note in notes if "not read" in note] == [
        "prices.csv: not read", "stock.parquet: not read",
    ]  # fmt: skip


def test_two_files_of_a_table_are_told(tmp_path: Path):
    (_write(tmp_path) / "items.jsonl").write_text('{"item": "a"}\n')
    (tmp_path / "interactions.xlsx").write_text("")
    with pytest.raises(InputError) as error:
        read_tables(tmp_path)
    assert "has items.csv and items.jsonl; remove all but one" in str(error.value)
    assert "interactions.xlsx: is not read, for its ending" in str(error.value)
