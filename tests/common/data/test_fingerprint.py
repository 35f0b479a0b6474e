"""The parts of a dataset: what changes which, and how a difference is told."""

import json
import shutil

import numpy as np
import pytest

from common.data.audit_faults import read_log
from common.data.audit_splits import describe_split as describe_rows
from common.data.cold import mark_warm_items
from common.data.describe import describe_split
from common.data.fingerprint import (
    check_parts,
    describe_data,
    describe_folder,
    find_differences,
    find_elsewhere,
    find_other_lists,
    make_parts,
    read_parts,
    select_parts,
)
from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.loading import read_manifest
from common.data.readers.synthetic import generate
from common.errors import InputError

GLOBAL = "global_time"
PLAIN = PrepareSettings(splits=(GLOBAL, "leave_one_out_joint"), negatives=10)


@pytest.fixture(scope="module")
def parts_of(tmp_path_factory):
    """parts_of(split, seed of the data, **settings) -> the parts of a folder made so."""
    sources = {seed: generate("tiny", seed=seed) for seed in (0, 1)}

    def make(split=GLOBAL, data=0, **settings):
        out = tmp_path_factory.mktemp("data") / "out"
        chosen = {**vars(PLAIN), **settings}
        write_dataset(out, sources[data], PrepareSettings(**chosen))
        return describe_data(load_dataset(out, split))["parts"]

    return make


@pytest.fixture(scope="module")
def plain(parts_of):
    return parts_of()


def kinds(theirs, ours):
    """Of the parts that differ, the kinds."""
    names = theirs.keys() | ours.keys()
    return {n.partition(".")[0] for n in names if theirs.get(n) != ours.get(n)}


def test_the_parts_have_names(plain):
    assert list(plain)[:7] == [
        "tables", "vocabulary.users", "vocabulary.items", "vocabulary.queries",
        "vocabulary.tokens", "history", f"split.{GLOBAL}",
    ]  # fmt: skip
    lists = {name.removeprefix("list.global_time.") for name in plain if name.startswith("list.")}
    parts = {f"{kind}10.{task}.{part}"
             for kind in ("uniform", "popularity")
             for task in ("rec", "search") for part in ("valid", "test")}  # fmt: skip
    assert lists == parts | {"bm25_10.search.valid", "bm25_10.search.test"}
    assert all(len(value) == 64 for value in plain.values())
    assert select_parts(plain).keys() == {"tables", "history", f"split.{GLOBAL}"}


def test_the_same_settings_make_the_same_parts(plain, parts_of):
    assert parts_of() == plain
    assert find_differences(plain, plain) == []
    only = parts_of(splits=(GLOBAL,))  # what else the folder holds does not matter
    assert only == plain


@pytest.mark.parametrize(
    ("change", "differ"),
    [
        ({"data": 1}, {"tables", "vocabulary", "split", "list"}),
        ({"t1": 1_704_900_000_000, "t2": 1_705_100_000_000}, {"split", "list"}),
        ({"history_order": "source"}, {"history", "split"}),
        ({"seed": 5}, {"list"}),
        ({"negatives": 5}, {"list"}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_change_shows_in_its_own_parts(change, differ, plain, parts_of):
    other = parts_of(**change)
    if "t1" in change:
        assert plain["tables"] == other["tables"]
    assert kinds(plain, other) == differ


def test_a_setting_of_the_split_counts_though_its_rows_are_the_same(parts_of):
    joint = [parts_of("leave_one_out_joint", max_cut_share=share) for share in (0.98, 0.99)]
    assert kinds(*joint) == {"split"}


def test_reading_the_manifest_alone_gives_the_same(tmp_path):
    write_dataset(tmp_path / "d", generate("tiny", seed=0), PLAIN)
    manifest = read_manifest(tmp_path / "d")
    assert describe_folder(manifest, GLOBAL) == describe_data(load_dataset(tmp_path / "d", GLOBAL))
    manifest["splits"][GLOBAL]["counts"] = {}  # what follows from the rows is no part
    assert (
        make_parts(manifest, GLOBAL)[f"split.{GLOBAL}"]
        == (make_parts(read_manifest(tmp_path / "d"), GLOBAL)[f"split.{GLOBAL}"])
    )


HERE = {
    "tables": "a" * 64, "history": "b" * 64, "split.joint": "c" * 64,
    "list.joint.uniform9.rec.valid": "d" * 64, "list.joint.uniform9.rec.test": "e" * 64,
}  # fmt: skip


def there(**changes):
    """HERE with other hashes; _ stands for the dot, None takes a part away."""
    parts = HERE | {name.replace("_", "."): value for name, value in changes.items()}
    return {name: value for name, value in parts.items() if value is not None}


@pytest.mark.parametrize(
    ("theirs", "told"),
    [
        (there(), []),
        (there(tables="1" * 64), ["the tables are 111111111111 there and aaaaaaaaaaaa here"]),
        (there(history="1" * 64), ["the history rule is 111111111111 there and bbbbbbbbbbbb here"]),
        (there(split_joint="1" * 64),
         ["the split joint is 111111111111 there and cccccccccccc here"]),
        (there(list_joint_uniform9_rec_test=None),
         ["the list uniform9 of rec test is absent there and eeeeeeeeeeee here"]),
        ({"tables": "a" * 64, "history": "1" * 64, "split.other": "c" * 64},
         ["the history rule is 111111111111 there and bbbbbbbbbbbb here",
          "the split is other there and joint here"]),
    ],
)  # fmt: skip
def test_differences_in_words(theirs, told):
    assert find_differences(theirs, HERE) == told


def test_what_the_other_side_has_besides_does_not_matter():
    more = there(list_joint_uniform5_rec_test="1" * 64, tables="a" * 64)
    check_parts("run", more, select_parts(HERE), "mend it")
    check_parts("run", more, HERE, "mend it")
    with pytest.raises(InputError) as error:
        check_parts("run", there(split_joint="1" * 64, history="2" * 64), HERE, "mend it")
    assert str(error.value) == (
        "run: the history rule is 222222222222 there and bbbbbbbbbbbb here (and 1 more); mend it"
    )
    with pytest.raises(InputError, match="the split is other there and joint here; mend it"):
        check_parts("run", there(split_joint=None) | {"split.other": "c"}, HERE, "mend it")


def test_other_lists_are_told_and_make_no_other_data():
    other = there(list_joint_uniform9_rec_test=None)
    line = "lists: not those of training: the list uniform9 of rec test is eeeeeeeeeeee there and"
    assert find_other_lists(HERE, other) == f"{line} absent here"
    assert find_other_lists(HERE, there(tables="1" * 64)) == ""
    assert find_elsewhere({"trained_on": {"parts": HERE}, "evaluated_on": {"parts": other}}) == []
    moved = {"trained_on": {"parts": HERE}, "evaluated_on": {"parts": there(history="1" * 64)}}
    assert find_elsewhere(moved) == ["the history rule is bbbbbbbbbbbb there and 111111111111 here"]


@pytest.mark.parametrize("entry", [None, "ab", {}, {"parts": []}, {"parts": {"split.a": "b"}}])
def test_an_entry_without_parts_is_older(entry):
    with pytest.raises(InputError, match=r"json: made by an older version, .*; train again"):
        read_parts(entry, "config.json", "train again")
    assert read_parts({"parts": HERE}, "config.json", "train again") == HERE


def test_an_edited_rule_is_another_dataset(tmp_path):
    """The order of histories stands in dataset.json alone, where a hand can change it."""
    write_dataset(tmp_path / "d", generate("tiny", seed=0), PLAIN)
    shutil.copytree(tmp_path / "d", tmp_path / "e")
    manifest = json.loads((tmp_path / "e/dataset.json").read_text())
    (tmp_path / "e/dataset.json").write_text(json.dumps(manifest | {"history_order": "source"}))
    ours, theirs = (make_parts(read_manifest(tmp_path / name), GLOBAL) for name in "de")
    assert kinds(ours, theirs) == {"history"}


def test_cold_items_are_those_in_no_training_row(rec_events, search_events, make_dataset):
    """Item 3 is only the second click of a training search: warm. Item 4 is tested alone: cold."""
    rec = rec_events([(1, 10, 0, 1, 1), (1, 20, 0, 4, 1), (2, 10, 0, 3, 1)])
    search = search_events([(1, 5, 0, 1, (2, 3)), (2, 30, 0, 1, (5,))])
    rows = {
        ("rec", "train"): [0], ("rec", "test"): [1, 2],
        ("search", "train"): [0], ("search", "test"): [1],
    }  # fmt: skip
    rows = {key: np.array(value, np.int64) for key, value in rows.items()}
    dataset = make_dataset(rec, search, n_items=6, rows=rows)
    assert np.flatnonzero(mark_warm_items(dataset)).tolist() == [1, 2, 3]
    none = {**rows, ("search", "train"): np.zeros(0, np.int64)}
    assert np.flatnonzero(mark_warm_items(dataset, none)).tolist() == [1]
    dataset.manifest["candidates"] = {}
    told = dict(describe_split(dataset))["rec cold"]
    assert told == "test rows whose item no train row has: 1 (50.0 %), 1 items"
    cold = dict(describe_rows(read_log(dataset), dataset.rows))
    assert cold["rec_test rows"].startswith("cold item 1 of 2 (50.0 %)")
