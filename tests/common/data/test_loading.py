"""What is loaded is verified: damage, changes and foreign folders are named."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.hashing import array_sha256
from common.data.manifest import tell_command
from common.data.readers.synthetic import generate
from common.errors import InputError


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "tiny"
    splits = ("leave_one_out_joint", "leave_one_out_per_task", "global_time")
    write_dataset(path, generate("tiny", 0), PrepareSettings(splits=splits, negatives=20))
    return path


@pytest.fixture
def copy(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("rec.parquet", "change", r"rec\.parquet: sha256 differs"),
        ("items.parquet", "change", r"items\.parquet: sha256 differs"),
        ("rec.parquet", "cut", r"rec\.parquet: cut short or no Parquet file"),
        ("search.parquet", "remove", r"search\.parquet: missing"),
        ("split/leave_one_out_joint/rec_test.npy", "change", r"rec_test\.npy: sha256 differs"),
        ("split/leave_one_out_joint/rec_test.npy", "cut", r"rec_test\.npy: cut short"),
        ("split/leave_one_out_joint/rec_test.npy", "remove", r"rec_test\.npy: missing"),
        ("dataset.json", "cut", r"dataset\.json, line \d+: is no JSON"),
        ("dataset.json", "remove", r"is no dataset folder"),
    ],
)
def test_damage_is_found(file: str, damage: str, message: str, copy: Path):
    path = copy / file
    if damage == "remove":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif path.suffix == ".npy":
        np.save(path, np.load(path)[:-1])
    else:
        pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(InputError, match=message):
        load_dataset(copy)


def test_changed_lists_are_found_when_they_are_loaded(copy: Path):
    path = copy / "cand/leave_one_out_joint.uniform20/rec_test.npy"
    lists = np.load(path)
    lists[0, 1], lists[0, 2] = lists[0, 2], lists[0, 1]
    np.save(path, lists)
    data = load_dataset(copy)
    assert data.load_lists("rec", "valid")
    with pytest.raises(InputError, match=r"uniform20/rec_test\.npy: sha256 differs"):
        data.load_lists("rec", "test")


def _edit_manifest(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(manifest | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"schema": 1},
            "key schema: is 1, this program reads 2; make it anew: python -m launch.prepare ",
        ),
        ({"sha256": "0" * 64}, r"key sha256: is not that of its tables \(F15\)"),
        ({"vocab": {"items": 7}}, r"key vocab\.items: is 7, items\.parquet has 120 rows \(F04\)"),
    ],
)
def test_a_manifest_that_does_not_fit(changes, message, copy: Path):
    _edit_manifest(copy, **changes)
    with pytest.raises(InputError, match=message):
        load_dataset(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[1:] + 10**6, "row outside the table"),
        (lambda rows: rows[::-1].copy(), "not ascending"),
        (lambda rows: rows - 1, "is no positive|stands twice"),
    ],
)
def test_a_broken_split_is_found_even_if_its_hash_fits(change, message, copy: Path):
    name = "split/leave_one_out_joint/rec_test.npy"
    rows = change(np.load(copy / name))
    np.save(copy / name, rows)
    splits = json.loads((copy / "dataset.json").read_text())["splits"]
    splits["leave_one_out_joint"]["files"]["rec_test"]["sha256"] = array_sha256(rows)
    _edit_manifest(copy, splits=splits)
    with pytest.raises(InputError, match=message):
        load_dataset(copy)


def test_parts_that_overlap_in_time_are_found(copy: Path):
    # Valid and test swapped: still disjoint rows of positives, but test comes first.
    place = copy / "split/leave_one_out_joint"
    manifest = json.loads((copy / "dataset.json").read_text())
    files = manifest["splits"]["leave_one_out_joint"]["files"]
    valid, test = (np.load(place / f"rec_{part}.npy") for part in ("valid", "test"))
    np.save(place / "rec_valid.npy", test)
    np.save(place / "rec_test.npy", valid)
    files["rec_valid"], files["rec_test"] = files["rec_test"], files["rec_valid"]
    _edit_manifest(copy, splits=manifest["splits"])
    with pytest.raises(InputError, match=r"\(F12\)"):
        load_dataset(copy)
    assert load_dataset(copy, verify=False).rows["rec", "test"].tolist() == valid.tolist()


def test_without_verification_a_changed_folder_is_loaded(copy: Path):
    path = copy / "split/leave_one_out_joint/rec_test.npy"
    np.save(path, np.load(path)[:-1])
    assert len(load_dataset(copy, verify=False).rows["rec", "test"]) == 63


def test_an_unknown_split_names_the_known_ones(tiny: Path):
    with pytest.raises(InputError, match=r"no split 'globaltime'.*did you mean global_time\?"):
        load_dataset(tiny, "globaltime")
    with pytest.raises(InputError, match=r"only leave_one_out_joint, leave_one_out_per_task"):
        load_dataset(tiny, "x")


def test_what_is_no_dataset_folder(tmp_path: Path):
    with pytest.raises(InputError, match=r"nowhere: no such folder"):
        load_dataset(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no dataset folder"):
        load_dataset(tmp_path)


def _store_lists(copy: Path, lists: np.ndarray) -> None:
    """Puts lists in the place of those of rec_test, and their hash into the manifest."""
    np.save(copy / "cand/leave_one_out_joint.uniform20/rec_test.npy", lists)
    manifest = json.loads((copy / "dataset.json").read_text())
    entry = manifest["candidates"]["leave_one_out_joint"]["uniform20"]["rec_test"]
    entry["sha256"] = array_sha256(lists)
    (copy / "dataset.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lists: lists[:, :1], "not 64 lists of a positive and negatives (F11)"),
        (lambda lists: lists[1:], "not 64 lists of a positive and negatives (F11)"),
        (lambda lists: np.where(np.arange(21) == 3, -2, lists), "list 1 has an id outside the cat"),
        (lambda lists: lists[:, [0, 1, 1, *range(3, 21)]], "list 1 has an item twice (F11)"),
        (lambda lists: lists[:, [1, 0, *range(2, 21)]], "does not begin with its positive (F11)"),
    ],
)
def test_lists_of_another_form_are_refused_when_they_are_read(change, message, copy: Path):
    lists = load_dataset(copy).load_lists("rec", "test")["uniform20"].items
    _store_lists(copy, change(lists))
    with pytest.raises(InputError, match=re.escape(message)):
        load_dataset(copy).load_lists("rec", "test")
    # An audit reads them all the same: their form is what it is about.
    load_dataset(copy, verify=False).load_lists("rec", "test")


@pytest.mark.parametrize("column", ["click_ts", "clicked"])
def test_clicks_without_times_are_named(column, copy: Path):
    table = pq.read_table(copy / "search.parquet")
    values = table[column].to_pylist()
    row = next(i for i, clicks in enumerate(values) if clicks)
    values[row] = []
    field = table.schema.field(column)
    place = table.schema.get_field_index(column)
    pq.write_table(
        table.set_column(place, field, pa.array(values, field.type)), copy / "search.parquet"
    )
    message = rf"search\.parquet, row {row + 1}, column click_ts: has not the length of clicked"
    with pytest.raises(InputError, match=message):
        load_dataset(copy, verify=False)


def test_the_command_that_makes_an_older_folder_anew():
    manifest = {
        "name": "amazon_beauty_2014", "sources": [{}], "seeds": {"lists": 3},
        "pseudo_query": {"letters_only": True, "drop_root": False, "search_share": 0.76,
                         "mode": "copy"},
        "splits": {"leave_one_out_joint": {}, "global_time": {"t1": 5, "t2": 7}},
        "candidates": {"global_time": {"uniform19": {}}}, "history_order": "source",
    }  # fmt: skip
    assert tell_command(Path("d"), manifest) == (
        "python -m launch.prepare --source=amazon_2014 --raw=FOLDER_OF_THE_RAW_FILES "
        "--search_share=0.76 --query_mode=copy --letters_only --nodrop_root --seed=3 "
        "--negatives=19 --splits=leave_one_out_joint,global_time --t1=5 --t2=7 "
        "--history_order=source --out=d --overwrite"
    )
    assert tell_command(Path("d"), {"name": "tiny", "splits": None, "candidates": 5}) == (
        "python -m launch.prepare --source=synthetic --preset=tiny --seed=0 --out=d --overwrite"
    )
