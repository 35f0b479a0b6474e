"""The audit command: exit code 0 for a clean folder, 1 for each planted fault, 2 for bad input."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.hashing import array_sha256
from common.data.readers.synthetic import generate
from common.data.schema import conform_table, dataset_sha256, table_sha256
from launch.audit import main
from launch.command import run_command

SPLIT = "leave_one_out_joint"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit") / "tiny"
    splits = (SPLIT, "leave_one_out_per_task", "global_time")
    write_dataset(folder, generate("tiny", seed=0), PrepareSettings(splits=splits, negatives=20))
    return folder


@pytest.fixture
def folder(prepared, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(prepared, tmp_path / "tiny")


def _audit(folder, capsys, split=SPLIT):
    """Exit code, report lines, error."""
    words = [f"--data={folder}", "--verbose", *([f"--split={split}"] if split else [])]
    code = run_command(main, words)
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err


def _update_hash(folder, keys, array):
    """Writes the hash of an array into the manifest: the fault is not a changed file then."""
    manifest = json.loads((folder / "dataset.json").read_text())
    entry = manifest
    for key in keys:
        entry = entry[key]
    entry["sha256"] = array_sha256(array)
    (folder / "dataset.json").write_text(json.dumps(manifest))


def _change_rows(folder, change, *, hashed=True):
    """Applies `change` to the rec test rows of the joint split."""
    file = folder / "split" / SPLIT / "rec_test.npy"
    rows = change(np.load(file))
    np.save(file, rows)
    if hashed:
        _update_hash(folder, ["splits", SPLIT, "files", "rec_test"], rows)


def _change_lists(folder, change, *, hashed=True):
    """Applies `change` to the uniform lists of the rec test rows."""
    file = folder / "cand" / f"{SPLIT}.uniform20" / "rec_test.npy"
    lists = np.load(file)
    change(lists)
    np.save(file, lists)
    if hashed:
        _update_hash(folder, ["candidates", SPLIT, "uniform20", "rec_test"], lists)


@pytest.mark.parametrize("split", [SPLIT, "global_time"])
def test_a_clean_folder(prepared, capsys, split):
    code, lines, error = _audit(prepared, capsys, split)
    assert (code, error) == (0, "")
    assert lines[0].startswith(f"audit of tiny, split {split}, history order time")
    assert lines[-1].strip() == "clean"


def test_a_split_per_task_is_not_clean(prepared, capsys):
    code, lines, _ = _audit(prepared, capsys, "leave_one_out_per_task")
    assert code == 1
    assert any(line.strip().startswith("F12 split") for line in lines)


def test_without_verbose_it_says_what_counts(prepared, capsys):
    assert run_command(main, [f"--data={prepared}", f"--split={SPLIT}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert [line.split("  ")[1] for line in lines[1:3]] == ["vocabulary", "rec"]
    assert lines[-2].endswith("more figures, each within its limits or named below: --verbose")
    assert lines[-1].strip() == "clean"


def test_every_split_is_audited_by_default(prepared, capsys):
    code, lines, _ = _audit(prepared, capsys, split=None)
    assert code == 1  # because of the split per task
    assert len([line for line in lines if line.startswith("audit of tiny")]) == 3


def test_what_only_a_person_can_judge(prepared, folder, capsys):
    """Queries that name their buyer: a look, an error with --strict."""
    table = pq.read_table(folder / "queries.parquet")
    users = pq.read_table(folder / "users.parquet")["raw_id"].to_pylist()
    dataset = load_dataset(prepared)
    texts = table["text"].to_pylist()
    for query, user in zip(dataset.search.query, dataset.search.user, strict=True):
        texts[query - 1] = f"{texts[query - 1]} {users[user - 1]}"
    tables = {"queries": table.set_column(1, "text", [texts])}
    pq.write_table(tables["queries"], folder / "queries.parquet")
    manifest = json.loads((folder / "dataset.json").read_text())
    stored = manifest["tables"]
    stored["queries"]["sha256"] = table_sha256(conform_table("queries", tables["queries"]))
    manifest["sha256"] = dataset_sha256(entry["sha256"] for entry in stored.values())
    (folder / "dataset.json").write_text(json.dumps(manifest))

    code, lines, _ = _audit(folder, capsys)
    assert (code, lines[-1]) == (0, "  LOOK AT: L18 (docs/audit.md)")
    told = [line for line in lines if line.startswith("  look: L18 search_train: the query has")]
    assert len(told) == 1
    assert run_command(main, [f"--data={folder}", f"--split={SPLIT}", "--strict"]) == 1
    assert run_command(main, [f"--data={prepared}", f"--split={SPLIT}", "--strict"]) == 0


def test_the_output_is_the_same_twice(prepared, capsys):
    assert _audit(prepared, capsys) == _audit(prepared, capsys)


def test_a_stored_history_with_the_target_itself(folder, capsys):
    dataset = load_dataset(folder)
    rows = dataset.rows["rec", "test"]
    (folder / "history" / SPLIT).mkdir(parents=True)
    np.savez(
        folder / "history" / SPLIT / "rec_test.npz",
        offsets=np.arange(len(rows) + 1),
        rec_row=rows,
        search_row=np.full(len(rows), -1),
    )
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert (
        f"  F10 rec_test: history has an event that is not strictly earlier: {len(rows)}" in lines
    )
    assert any(line.startswith("  F09 rec_test") for line in lines)
    row = rows[0]
    user, item = dataset.rec.user[row], dataset.rec.item[row]
    named = (
        f"rec row {row + 1} (user 'u{user:02}' #{user}, item 'i{item:03}' #{item}, "
        f"ts_ms {dataset.rec.ts[row]}, seq "
    )
    assert any(named in line for line in lines)
    assert lines[-1] == "  LEAKS OR FAULTS: F09, F10"


def test_a_row_twice_in_a_split(folder, capsys):
    train = np.load(folder / "split" / SPLIT / "rec_train.npy")
    _change_rows(folder, lambda rows: np.sort(np.append(rows, train[0])))
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert any("F08 rec: row stands in the split twice: 1" in line for line in lines)
    assert any(f"rec row {train[0] + 1} (user" in line for line in lines)


def test_a_row_outside_the_table(folder, capsys):
    _change_rows(folder, lambda rows: np.append(rows, 10**6))
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert any("rec row 1000001 (not in the table)" in line for line in lines)


def test_a_candidate_that_stands_twice(folder, capsys):
    def repeat(lists):
        lists[2, 5] = lists[2, 6]

    _change_lists(folder, repeat)
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert "  F11 uniform20 rec_test: list repeats an item: 1" in lines
    assert lines[-1] == "  LEAKS OR FAULTS: F11"


def test_changed_lists_are_named_and_looked_at_all_the_same(folder, capsys):
    def lose(lists):
        lists[:, 0] = lists[:, 1]

    _change_lists(folder, lose, hashed=False)
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert lines[-1] == "  LEAKS OR FAULTS: F11, F15"


def test_a_changed_split_file(folder, capsys):
    _change_rows(folder, lambda rows: rows[:-1], hashed=False)
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert f"  F15 split/{SPLIT}/rec_test.npy: sha256 is not the one in dataset.json: 1" in lines


def test_a_changed_table(folder, capsys):
    table = pq.read_table(folder / "items.parquet")
    place = table.column_names.index("title")
    table = table.set_column(place, "title", pc.utf8_upper(table["title"]))
    pq.write_table(table, folder / "items.parquet")
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert "  F15 items.parquet: sha256 is not the one in dataset.json: 1" in lines


def _no_folder(folder):
    shutil.rmtree(folder)


def _no_table(folder):
    (folder / "rec.parquet").unlink()


def _cut_table(folder):
    data = (folder / "rec.parquet").read_bytes()
    (folder / "rec.parquet").write_bytes(data[: len(data) // 2])


def _no_manifest(folder):
    (folder / "dataset.json").unlink()


def _unsorted(folder):
    table = pq.read_table(folder / "rec.parquet")
    pq.write_table(table.take(np.arange(len(table))[::-1]), folder / "rec.parquet")


@pytest.mark.parametrize("spoil", [_no_folder, _no_table, _cut_table, _no_manifest, _unsorted])
def test_bad_input(folder, capsys, spoil):
    spoil(folder)
    code, lines, error = _audit(folder, capsys)
    assert code == 2
    assert not lines
    assert error.startswith("error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["--data=/nowhere"], ["--date=x"]])
def test_a_bad_command_line(capsys, argv):
    assert run_command(main, argv) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_an_unknown_split(prepared, capsys):
    code, _, error = _audit(prepared, capsys, "leave_one_out_join")
    assert code == 2
    assert "did you mean leave_one_out_joint?" in error


def test_the_command_itself(prepared, folder):
    def run(data):
        command = [sys.executable, "-m", "launch.audit", f"--data={data}", f"--split={SPLIT}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run(prepared).returncode == 0
    _change_lists(folder, lambda lists: lists.fill(1))
    leaky = run(folder)
    assert leaky.returncode == 1
    assert leaky.stderr == ""
    assert run(folder / "missing").returncode == 2


@pytest.mark.parametrize("name", ["rec", "search"])
def test_a_table_that_has_lost_its_rows_is_a_fault(name, folder, capsys):
    """Its split files still name them."""
    table = pq.read_table(folder / f"{name}.parquet")
    pq.write_table(table.slice(0, 0), folder / f"{name}.parquet")
    code, lines, _ = _audit(folder, capsys)
    assert code == 1
    assert "F15" in lines[-1]


def test_ids_stored_as_another_kind_of_number_are_the_same(prepared, folder, capsys):
    """Found by the fuzzer: numpy takes no float for an index."""
    items = pq.read_table(folder / "items.parquet")
    halves = pa.array(items["item"].to_numpy().astype(np.float16))
    items = items.set_column(items.schema.get_field_index("item"), "item", halves)
    pq.write_table(items, folder / "items.parquet")
    assert _audit(folder, capsys) == _audit(prepared, capsys)
