"""Small hostile files cost one line: no gigabytes, no waiting, no numbers that wrap."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common import bounds
from common.data.checks import check_tables
from common.data.folder import load_dataset, write_dataset
from common.data.readers.synthetic import generate
from common.data.readers.tables import read_tables
from common.errors import InputError
from common.json_files import read_json
from common.npy_files import read_npy, read_npz
from common.ranking.ranks import read_ranks

FILES = {
    "items.csv": "item,title\na,Cup\n",
    "interactions.csv": "user,item,time\nu,a,1700000000\n",
    "searches.csv": "user,query,time\nu,cup,1699999000\n",
}
PEAK_MB = 512
# In a process of its own, because a peak is never forgotten.
MEASURE = """
import re, sys
from pathlib import Path
from common.errors import InputError
from common.data.readers.amazon_2014 import read_amazon
from common.data.readers.tables import read_tables
reader = {"tables": read_tables, "amazon": read_amazon}[sys.argv[1]]
try:
    reader(Path(sys.argv[2]))
except InputError as error:
    # Of this program: ru_maxrss would have what the process had from before it was this program.
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    print(int(peak[1]) // 1024, error)
"""


def _pack(start: bytes, part: bytes, times: int) -> bytes:
    """A gzip file of a start and a megabyte or so, many times over: members stand side by side."""
    return gzip.compress(start) + gzip.compress(part) * times


def _write(folder: Path, name: str, content: bytes) -> Path:
    for other, text in FILES.items():
        if other.split(".")[0] != name.split(".")[0]:
            (folder / other).write_text(text)
    (folder / name).write_bytes(content)
    return folder / name


MEGABYTE = b"a" * (1 << 20)
HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "CSV, one line": (
        "items.csv.gz", lambda: _pack(b"item,title\na,", MEGABYTE, 1024), "longer than|unpacks",
    ),
    "TSV, one line": (
        "items.tsv.gz", lambda: _pack(b"item\ttitle\na\t", MEGABYTE, 1024), "longer than|unpacks",
    ),
    "CSV, one value": (
        "items.csv.gz", lambda: _pack(b'item,title\na,"', b"\n" * (1 << 20), 1024), "unpacks",
    ),
    "CSV, many rows": (
        "items.csv.gz", lambda: _pack(b"item,title\n", b"a,b\n" * (1 << 18), 1024), "unpacks",
    ),
    "CSV, many columns": (
        "items.csv.gz", lambda: _pack(b"item,title", b",a" * (1 << 19), 1024), "unpacks",
    ),
    "JSON lines, one line": (
        "items.jsonl.gz", lambda: _pack(b'{"item": "', MEGABYTE, 1024), "longer than",
    ),
    "JSON lines, many values": (
        "items.jsonl.gz", lambda: _pack(b'{"item": "a", "title": [', b"{}," * (5 << 20), 1),
        "more than 2,000,000 values",
    ),
    "JSON lines, many rows": (
        "items.jsonl.gz", lambda: _pack(b"", b'{"item":"a"}\n' * (1 << 16), 1024), "unpacks",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_of_gzip_does_not_fill_the_memory(name, tmp_path):
    file, make, message = HOSTILE[name]
    path = _write(tmp_path, file, make())
    assert path.stat().st_size < 2_500_000
    peak, said = _measure("tables", tmp_path)
    assert peak < PEAK_MB
    assert str(path) in said
    assert re.search(message, said)


@pytest.mark.parametrize("which", ["reviews_Toys_5.json.gz", "meta_Toys.json.gz"])
@pytest.mark.parametrize("line", ["one", "many"])
def test_nor_does_one_of_amazon(which, line, tmp_path):
    review = b'{"reviewerID": "u", "asin": "a", "unixReviewTime": 1400000000}\n'
    meta = b"{'asin': 'a', 'categories': [['Toys']]}\n"
    for name, row in (("reviews_Toys_5.json.gz", review), ("meta_Toys.json.gz", meta)):
        content = gzip.compress(row)
        if name == which:
            many = row * (1 << 14)
            content = _pack(row, MEGABYTE if line == "one" else many, 1024)
        (tmp_path / name).write_bytes(content)
    peak, said = _measure("amazon", tmp_path)
    assert peak < PEAK_MB
    assert f"{tmp_path / which}" in said


def test_parquet_that_says_one_text_a_million_times(tmp_path):
    texts = pa.array(["x" * 1000]).dictionary_encode().take(pa.array(np.zeros(1_000_000, np.int32)))
    path = _write(tmp_path, "items.parquet", b"")
    pq.write_table(pa.table({"item": texts}), path)
    assert path.stat().st_size < 200_000
    del texts
    peak, said = _measure("tables", tmp_path)
    assert peak < PEAK_MB
    assert f"{path}: unpacks to more than 200 times" in said


def _measure(reader: str, folder: Path) -> tuple[int, str]:
    """The peak of a process that reads a folder, in MB, and the error that it ends with."""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, reader, folder],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    peak, _, said = done.stdout.partition(" ")
    return int(peak), said


LONG = "x" * (bounds.LONGEST_VALUE + 1)
TOO_MUCH = {
    "a line": ("items.csv", "item\na\n" + "x" * (bounds.LONGEST_LINE + 1), ", line 3: is longer"),
    "a header": ("items.csv", "item," + "x" * bounds.LONGEST_HEADER, "its header is longer"),
    "columns": ("items.csv", "item" + ",c" * bounds.MOST_COLUMNS + "\n", "has 200,001 columns"),
    "a value": ("items.csv", f"item,title\na,{LONG}\n", "row 1, column title: is longer than"),
    "a value in quotes": ("items.csv", f'item,title\na,"\n{LONG}"\n', "row 1, column title: opens"),
    "a JSON value": ("items.jsonl", f'{{"item": "a", "title": "{LONG}"}}', "title: is longer than"),
    "nesting": ("items.jsonl", '{"item": "a", "title": ' + "[" * 101 + "]" * 101 + "}\n",
                "row 1: is nested deeper than 100 levels"),
    "brackets": ("items.jsonl", "[" * 200_000 + "\n", "row 1: is nested deeper than 100 levels"),
}  # fmt: skip


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_beyond_a_bound_is_told(name, tmp_path):
    file, content, message = TOO_MUCH[name]
    path = _write(tmp_path, file, content.encode())
    with pytest.raises(InputError) as error:
        read_tables(tmp_path)
    [line] = [line for line in str(error.value).splitlines() if message in line]
    assert line.strip().startswith(str(path))
    assert len(line) < 500


def test_a_list_beyond_its_bound_is_told(tmp_path):
    path = _write(tmp_path, "searches.parquet", b"")
    clicked = pa.array([np.zeros(bounds.LONGEST_LIST + 1, np.int8)])
    pq.write_table(
        pa.table({"user": ["u"], "query": ["q"], "time": [1], "clicked": clicked}), path,
        use_dictionary=False, compression="none",
    )  # fmt: skip
    with pytest.raises(InputError, match="row 1, column clicked: has more than 1,000,000 entries"):
        read_tables(tmp_path)


# Times


def test_a_timestamp_of_another_age_leaves_nothing_behind(tmp_path):
    path = _write(tmp_path, "interactions.parquet", b"")
    times = pa.array([2**62], pa.timestamp("ms"))
    pq.write_table(pa.table({"user": ["u"], "item": ["a"], "time": times}), path)
    with pytest.raises(InputError, match=f"row 1, column time: {2**62} lies after 2100"):
        read_tables(tmp_path)


@pytest.mark.parametrize("ms", [-1, bounds.END_MS, 2**62, -(2**63)])
@pytest.mark.parametrize("name", ["rec", "search"])
def test_times_that_cannot_be_reach_no_key(name, ms, tmp_path):
    tables = generate("tiny", seed=0)
    table = getattr(tables, name)
    times = table["ts_ms"].to_numpy().copy()
    times[7] = ms
    place = table.column_names.index("ts_ms")
    changed = table.set_column(place, "ts_ms", pa.array(times))
    with pytest.raises(
        InputError, match=rf"{name}\.parquet, row 8, column ts_ms: is no time, in ms"
    ):
        check_tables({n: changed if n == name else tables.table(n) for n in FILE_TABLES})


FILE_TABLES = ("users", "items", "queries", "tokens", "rec", "search")


# Files of a wrong kind


@pytest.mark.parametrize(
    "name", ["dataset.json", "rec.parquet", "split/leave_one_out_joint/rec_test.npy"]
)
def test_a_pipe_in_a_dataset_is_not_waited_for(name, tmp_path):
    folder = tmp_path / "data"
    write_dataset(folder, generate("tiny", seed=0))
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=r"is a pipe or a device, not a file|no dataset\.json"):
        load_dataset(folder)


@pytest.mark.parametrize("read", [
    lambda path: read_json(path, "x"), lambda path: read_npy(path, "iu", 1, "x"),
    lambda path: read_npz(path, ["a"], "x"), read_ranks,
])  # fmt: skip
def test_pipes_loops_and_folders(read, tmp_path):
    path = tmp_path / "file"
    for make, message in (
        (lambda: os.mkfifo(path), "is a pipe or a device, not a file"),
        (lambda: path.symlink_to(path), "cannot be read"),
        (lambda: path.symlink_to(tmp_path / "gone"), "is a link that leads nowhere"),
        (path.mkdir, "is a folder, not a file"),
    ):
        make()
        with pytest.raises(InputError, match=message):
            read(path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    with pytest.raises(InputError, match="missing"):
        read(path)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("(1000000000000,)", "cut short, it has 32 bytes for 1000000000000 of int64"),
        ("(99999999999999999999,)", "cut short"),
        ("(3,)", "too long, it has 32 bytes for 3 of int64"),
        ("(-1,)", "too long"),
        ("((((", "no .npy file"),
    ],
)
def test_an_array_has_the_size_that_its_header_says(shape, message, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(4))
    content = path.read_bytes()
    text = content[10:128].decode()
    said = (text[: text.index("(")] + shape + ", }").ljust(117) + "\n"
    path.write_bytes(content[:10] + said.encode() + content[128:])
    with pytest.raises(InputError, match=message):
        read_npy(path, "iu", 1, "copy it again")


def test_an_archive_of_arrays_has_the_sizes_that_it_says(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(1 << 24, np.int64))  # 128 MB of zeros
    with pytest.raises(InputError, match="unpacks to more than 200 times"):
        read_npz(path, ["a"], "copy it again")
