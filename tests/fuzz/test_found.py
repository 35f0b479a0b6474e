"""What the fuzzer has found, one of each kind: each is one line now."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import model_readers
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import source_readers
import stored_readers
from outcomes import Reader, digest

from common.errors import InputError

ALL = [*source_readers.READERS, *stored_readers.READERS, *model_readers.READERS]
READERS = {reader.name: reader for reader in ALL}


def edit_json(path: Path, key: str, value: object) -> None:
    """Sets the value at a dotted key, or without a value removes it."""
    tree = json.loads(path.read_text())
    *groups, last = key.split("/")
    place = tree
    for group in groups:
        place = place[group]
    if value is None:
        del place[last]
    else:
        place[last] = value
    path.write_text(json.dumps(tree))


def edit_column(path: Path, name: str, values: pa.Array) -> None:
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.column_names.index(name), name, values), path)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def turn_bytes(path: Path) -> None:
    """The bytes stay, and so their hash does."""
    path.write_bytes(path.read_bytes().replace(b"<i8", b">i8"))


def repack(path: Path, old: str, new: str) -> None:
    """Replaces the first occurrence of a text in a gzip file."""
    plain = gzip.decompress(path.read_bytes()).replace(old.encode(), new.encode(), 1)
    path.write_bytes(gzip.compress(plain))


SPLIT, LISTS = "leave_one_out_joint", "candidates/leave_one_out_joint"
LONG = "x" * 300_000
FOUND = {
    "a list whose entry is lost": (
        "dataset folder: load",
        lambda d: edit_json(d / "dataset.json", f"{LISTS}/uniform5/rec_valid", None),
        "rec_valid.npy: is not in dataset.json",
    ),
    "the same in an audit": (
        "dataset folder: audit",
        lambda d: edit_json(d / "dataset.json", f"{LISTS}/uniform5", None),
        "is not in dataset.json",
    ),
    "a table that the manifest lacks": (
        "dataset folder: audit",
        lambda d: edit_json(d / "dataset.json", "tables/search", None),
        "dataset.json, key tables.search: missing",
    ),
    "a name of the manifest that is none": (
        "dataset folder: load",
        lambda d: edit_json(d / "dataset.json", f"{LISTS}/a b", {}),
        "holds the key 'a b', which is no name",
    ),
    "a text column of numbers": (
        "dataset folder: load",
        lambda d: edit_column(d / "items.parquet", "text_tok", pa.array([0.5] * pq.read_metadata(
            d / "items.parquet").num_rows)),
        "items.parquet: is no table of a dataset",
    ),
    "a map instead of a list": (
        "dataset folder: audit",
        lambda d: edit_column(d / "search.parquet", "shown_kind", pa.array(
            [[("a", 1)]] * pq.read_metadata(d / "search.parquet").num_rows,
            pa.map_(pa.string(), pa.int64()))),
        "search.parquet, column shown_kind: is no list<item: uint8>",
    ),
    "a long text instead of an id": (
        "dataset folder: audit",
        lambda d: edit_column(d / "users.parquet", "user", pa.array(
            [LONG] * pq.read_metadata(d / "users.parquet").num_rows)),
        "users.parquet, column user: is no int32",
    ),
    "a step of more than 63 bits": (
        "metrics.jsonl",
        lambda d: (d / "metrics.jsonl").write_text(
            (d / "metrics.jsonl").read_text().replace('"step": 4', f'"step": {2**63}')),
        "metrics.jsonl, row 7: has a number of more than 63 bits",
    ),
    "rows with their bytes turned": (
        "dataset folder: load",
        lambda d: turn_bytes(d / f"split/{SPLIT}/rec_train.npy"),
        "rec_train: row outside the table of",
    ),
    "a long key": (
        "results.json",
        lambda d: edit_json(d / "results.json", f"tasks/{LONG}", {}),
        "is no task (rec, search)",
    ),
    "protocols that are a number": (
        "results.json",
        lambda d: edit_json(d / "results.json", "slices/rec/popularity/low/protocols", 0.5),
        "key slices.rec.popularity.low.protocols: has the wrong type, float",
    ),
    "a key twice": (
        "results.json",
        lambda d: (d / "results.json").write_text('{"schema": 1, "schema": 1}'),
        "results.json: is no JSON (has a key twice)",
    ),
    "a bit of the ranks": (
        "ranks.parquet", lambda d: flip(d / "ranks.parquet", 540), "ranks.parquet: is not what was",
    ),
    "dates instead of ranks": (
        "ranks.parquet",
        lambda d: edit_column(d / "ranks.parquet", "rank_high", pa.array([date(2024, 1, 1)] * 150)),
        "column rank_high: is date32[day], not whole numbers",
    ),
    "a line end in a rank": (
        "ranks.parquet",
        lambda d: edit_column(d / "ranks.parquet", "user", pa.array(["a\nb"] * 150)),
        "column user: is string, not whole numbers",
    ),
    "an empty query in the truth": (
        "truth tables",
        lambda d: (d / "truth/searches.csv").write_text(
            (d / "truth/searches.csv").read_text().replace("red cup 0", "")),
        "truth/searches.csv, row 1, column query: is empty",
    ),
    "no metadata at all": (
        "Amazon and order file",
        lambda d: (d / "meta_Toys.json.gz").write_bytes(gzip.compress(b"")),
        "meta_Toys.json.gz: has no rows",
    ),
    "a long id with a line end": (
        "Amazon and order file",
        lambda d: repack(d / "reviews_Toys_5.json.gz", '"A0"', f'"a\\n{LONG}"'),
        "is missing; add a line for each user",
    ),
    "many layers": (
        "T5 config and safetensors",
        lambda d: edit_json(d / "config.json", "num_layers", 1000),
        "config.json, num_layers: is 1000, the weights have 1",
    ),
    "no unknown token": (
        "T5 tokenizer",
        lambda d: edit_json(d / "tokenizer.json", "model/unk_id", None),
        "tokenizer.json: is no tokenizer",
    ),
    "a long token": (
        "T5 tokenizer",
        lambda d: edit_json(d / "tokenizer.json", "model/vocab", [["<pad>", 0.0], [LONG, -1.0]]),
        "tokenizer.json: has a token of 300,000 characters, more than 1,000",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_one_line(name, tmp_path):
    of, damage, message = FOUND[name]
    reader: Reader = READERS[of]
    reader.make(tmp_path)
    reader.read(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError) as error:
        reader.read(tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_parquet_whose_columns_differ_in_length(tmp_path, monkeypatch):
    """One bit can make it so, and where it stands depends on the writer: Arrow gives no batches."""
    READERS["Parquet"].make(tmp_path)
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda *_, **__: iter(()))
    with pytest.raises(InputError, match=r"searches\.parquet: cut short or no Parquet file"):
        READERS["Parquet"].read(tmp_path)


def test_equal_seeds_give_equal_inputs(tmp_path):
    script = Path(__file__).with_name("run.py")
    code = (
        "import sys, random, hashlib; sys.path.insert(0, sys.argv[1]);"
        "from mutators import draw_change;"
        "files = {'a.csv': b'a,b\\n1,2\\n', 'b.json': b'{\"a\": [1, 2]}'};"
        "made = [draw_change(files, random.Random(f'x {n}')) for n in range(300)];"
        "print(hashlib.sha256(repr(made).encode()).hexdigest())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code, script.parent],
            env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("0", "1")
    }  # fmt: skip
    assert len(said) == 1


def test_a_clean_reader_reads_its_own_files(tmp_path):
    for number, reader in enumerate(ALL):
        folder = tmp_path / str(number)
        folder.mkdir()
        reader.make(folder)
        content = reader.read(folder)
        if reader.second is not None:
            assert digest(reader.second(folder)) == digest(content.compared), reader.name
