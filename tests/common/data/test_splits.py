"""Splits: hand-worked users, a naive implementation on random logs, and real data."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.events import PARTS, TASKS, RecEvents, make_searches
from common.data.splits import SPLITS, check_joint_invariant, make_split
from common.errors import InputError

BEAUTY = Path(__file__).resolve().parents[3] / ".." / "shared/data/amazon_beauty_2014"


def make_events(rec, search):
    """Tables from rows (user, ts, seq, target), target 0 = no positive, in any order."""
    rec, search = (np.array(sorted(rows), np.int64).reshape(-1, 4) for rows in (rec, search))
    clicked = search[:, 3] > 0
    return (
        RecEvents(
            rec[:, 0].astype(np.int32),
            rec[:, 1],
            rec[:, 2].astype(np.int32),
            np.maximum(rec[:, 3], 1).astype(np.int32),
            (rec[:, 3] > 0).astype(np.uint8),
        ),
        make_searches(
            search[:, 0].astype(np.int32),
            search[:, 1],
            search[:, 2].astype(np.int32),
            np.ones(len(search), np.int32),
            np.concatenate([[0], np.cumsum(clicked)]),
            search[clicked, 3].astype(np.int32),
        ),
    )


def as_lists(rows):
    return {f"{task}_{part}": rows[task, part].tolist() for task in TASKS for part in PARTS}


def clicks(user, *times):
    """Positives of one user at the given times, numbered inside a tie."""
    return [(user, ts, times[:i].count(ts), 5) for i, ts in enumerate(times)]


def test_joint_cuts_hold_for_both_tasks():
    # Last keys 60 (rec) and 70 (search): both tasks are tested from 60 on. The largest keys
    # before 60 are 50 and 45, so everything from 45 on is off limits for training.
    rec, search = make_events(clicks(1, 5, 10, 20, 50, 60), clicks(1, 30, 45, 70))
    split = make_split("leave_one_out_joint", rec, search, "time")
    assert as_lists(split.rows) == {
        "rec_train": [0, 1, 2],
        "rec_valid": [3],
        "rec_test": [4],
        "search_train": [0],
        "search_valid": [1],
        "search_test": [2],
    }
    assert split.info["unused"] == 0
    assert split.info["positives"] == 8


def test_an_early_second_task_does_not_throw_the_data_away():
    # Search has three keys, but its last but one comes before five of eight rec clicks.
    rec, search = make_events(clicks(1, 10, 20, 30, 60, 70, 80, 90, 100), clicks(1, 5, 40, 50))
    split = make_split("leave_one_out_joint", rec, search, "time")
    assert split.rows["rec", "test"].tolist() == [7]
    assert split.rows["search", "test"].tolist() == []
    assert split.rows["search", "train"].tolist() == [0, 1, 2]
    # With a generous share, search decides the cuts: 50 for test, 30 for valid (rec).
    split = make_split("leave_one_out_joint", rec, search, "time", max_cut_share=1.0)
    assert split.rows["search", "test"].tolist() == [2]
    assert split.rows["rec", "test"].tolist() == [3]
    assert split.rows["rec", "valid"].tolist() == [2]


def test_the_share_never_excludes_the_latest_task():
    # On the days 1, 2, 2, 2, 3 more than half of the events lie at or after the last but one.
    rec, search = make_events(clicks(1, 1, 2, 2, 2, 3), [])
    split = make_split("leave_one_out_joint", rec, search, "time", max_cut_share=0.1)
    assert split.rows["rec", "test"].tolist() == [4]
    assert split.rows["rec", "valid"].tolist() == [3]  # of tied rows the last
    assert split.rows["rec", "train"].tolist() == [0]
    assert split.info["unused"] == 2


def test_tied_rows_have_an_order_in_source_mode_only():
    rec, search = make_events(clicks(1, 1, 1, 1), [])
    by_time = make_split("leave_one_out_joint", rec, search, "time").rows
    assert by_time["rec", "train"].tolist() == [0, 1, 2]  # one key: nothing can be predicted
    by_source = make_split("leave_one_out_joint", rec, search, "source").rows
    assert [by_source["rec", part].tolist() for part in PARTS] == [[0], [1], [2]]


def test_exposures_and_searches_without_clicks_are_no_targets():
    rec, search = make_events(
        [*clicks(1, 10, 20, 30), (1, 40, 0, 0)], [(1, 50, 0, 0), (1, 60, 0, 0), (1, 70, 0, 0)]
    )
    rows = make_split("leave_one_out_joint", rec, search, "time").rows
    assert rows["rec", "test"].tolist() == [2]
    assert sum(len(r) for r in rows.values()) == 3


def test_per_task_needs_three_usable_keys():
    # The first event of user 1 has no history; a search without a click gives one to user 2.
    rec, search = make_events(
        clicks(1, 10, 20, 30, 40) + clicks(2, 10, 20, 30) + clicks(3, 10, 20, 30),
        [(2, 5, 0, 0)],
    )
    rows = make_split("leave_one_out_per_task", rec, search, "time").rows
    assert [rows["rec", part].tolist() for part in PARTS] == [[1, 4], [2, 5], [3, 6]]


def test_per_task_cuts_do_not_bind_the_other_task():
    rec, search = make_events(clicks(1, 10, 20, 30, 40), clicks(1, 100, 110, 120))
    rows = make_split("leave_one_out_per_task", rec, search, "time").rows
    assert rows["rec", "test"].tolist() == [3]
    assert rows["search", "train"].tolist() == [0]
    violation = check_joint_invariant(rec, search, rows, "time")[0]
    assert violation.user == 1
    assert violation.earlier == ("search", "train", 0)
    assert violation.later == ("rec", "valid", 2)


def test_global_cuts_are_half_open():
    rec, search = make_events(clicks(1, 10, 20, 30), clicks(2, 19, 20, 29, 30))
    split = make_split("global_time", rec, search, "time", t1=20, t2=30)
    assert [split.rows["rec", part].tolist() for part in PARTS] == [[0], [1], [2]]
    assert [split.rows["search", part].tolist() for part in PARTS] == [[0], [1, 2], [3]]
    assert (split.info["t1"], split.info["t2"]) == (20, 30)


def test_global_cuts_default_to_quantiles():
    rec, search = make_events(clicks(1, *range(50)), clicks(2, *range(50, 100)))
    split = make_split("global_time", rec, search, "time")
    assert (split.info["t1"], split.info["t2"]) == (80, 90)


@pytest.mark.parametrize(
    ("name", "settings_", "words"),
    [
        ("random", {}, "leave_one_out_joint, leave_one_out_per_task, global_time"),
        ("global_time", {"t1": 1}, "both or neither"),
        ("global_time", {"t1": 5, "t2": 5}, "not before"),
        ("leave_one_out_joint", {"max_cut_share": 0.0}, "max_cut_share"),
    ],
)
def test_bad_settings_are_named(name, settings_, words):
    rec, search = make_events(clicks(1, 10, 20, 30), [])
    with pytest.raises(InputError, match=words):
        make_split(name, rec, search, "time", **settings_)
    with pytest.raises(InputError, match="time, source"):
        make_split("global_time", rec, search, "order")


def test_an_empty_log_gives_empty_parts():
    rec, search = make_events([], [])
    for name in SPLITS[:2]:
        rows = make_split(name, rec, search, "time").rows
        assert all(len(r) == 0 for r in rows.values())
        assert check_joint_invariant(rec, search, rows, "time") == []


events = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 6), st.booleans(), st.booleans()), max_size=40
)


def number_events(drawn):
    """Random events as tables; seq runs inside (user, ts) over both tables."""
    rec, search, seen = [], [], {}
    for user, ts, is_search, positive in drawn:
        seq = seen[user, ts] = seen.get((user, ts), -1) + 1
        (search if is_search else rec).append((user, ts, seq, 7 if positive else 0))
    # A copy of the first rec event in the other table, as pseudo-searches are.
    return make_events(rec, search + rec[:1])


def split_naively(rec, search, order, share):
    """The joint rule, user by user, in plain Python."""
    rows = {(task, part): [] for task in TASKS for part in PARTS}
    tables = dict(zip(TASKS, (rec, search), strict=True))
    for user in range(1, 4):
        found = {
            task: [
                ((int(t.ts[i]), int(t.seq[i])) if order == "source" else int(t.ts[i]), i)
                for i in range(len(t.user))
                if t.user[i] == user and t.positive[i]
            ]
            for task, t in tables.items()
        }
        everything = [key for rows_ in found.values() for key, _ in rows_]
        keys = {task: sorted({key for key, _ in rows_}) for task, rows_ in found.items()}
        long = [task for task in TASKS if len(keys[task]) >= 3]
        latest = max((keys[task][-2] for task in long), default=None)
        eligible = [
            task
            for task in long
            if keys[task][-2] == latest
            or sum(key >= keys[task][-2] for key in everything) <= share * len(everything)
        ]
        if not eligible:
            for task in TASKS:
                rows[task, "train"] += [i for _, i in found[task]]
            continue
        test = min(keys[task][-1] for task in eligible)
        valid = min(
            max(key for key in keys[task] if key < test)
            for task in eligible
            if keys[task][0] < test
        )
        for task in TASKS:
            rows[task, "train"] += [i for key, i in found[task] if key < valid]
        for task in eligible:
            for part, low, high in (("valid", valid, test), ("test", test, None)):
                inside = [k for k in keys[task] if k >= low and (high is None or k < high)]
                if inside:
                    rows[task, part].append(max(i for key, i in found[task] if key == inside[0]))
    return {name: sorted(r) for name, r in rows.items()}


@given(events, st.sampled_from(["time", "source"]), st.sampled_from([0.3, 0.5, 1.0]))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_joint_split_equals_the_naive_rule(drawn, order, share):
    rec, search = number_events(drawn)
    split = make_split("leave_one_out_joint", rec, search, order, max_cut_share=share)
    assert {n: r.tolist() for n, r in split.rows.items()} == split_naively(
        rec, search, order, share
    )
    assert check_joint_invariant(rec, search, split.rows, order) == []


@given(events, st.sampled_from(["time", "source"]), st.sampled_from(SPLITS[:2]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_parts_are_ascending_positives_and_do_not_overlap(drawn, order, name):
    rec, search = number_events(drawn)
    rows = make_split(name, rec, search, order).rows
    for task, table in zip(TASKS, (rec, search), strict=True):
        together = np.concatenate([rows[task, part] for part in PARTS])
        assert len(np.unique(together)) == len(together)
        assert table.positive[together].all()
        for part in PARTS:
            assert rows[task, part].dtype == np.int64
            assert (np.diff(rows[task, part]) > 0).all()


@given(events, st.sampled_from(["time", "source"]), st.data())
@settings(derandomize=True, deadline=None, max_examples=50)
def test_the_invariant_finds_every_broken_user(drawn, order, data):
    rec, search = number_events(drawn)
    positives = [("rec", i) for i in np.flatnonzero(rec.positive)]
    positives += [("search", i) for i in np.flatnonzero(search.positive)]
    rows = {(task, part): [] for task in TASKS for part in PARTS}
    keys = {}
    for task, i in positives:
        part = data.draw(st.sampled_from(PARTS))
        rows[task, part].append(i)
        table = rec if task == "rec" else search
        key = (table.ts[i], table.seq[i]) if order == "source" else table.ts[i]
        keys.setdefault(int(table.user[i]), {}).setdefault(part, []).append(key)
    broken = {
        user
        for user, parts in keys.items()
        for early, late in (("train", "valid"), ("valid", "test"), ("train", "test"))
        if early in parts and late in parts and max(parts[early]) >= min(parts[late])
    }
    arrays = {name: np.array(r, np.int64) for name, r in rows.items()}
    found = check_joint_invariant(rec, search, arrays, order)
    assert {violation.user for violation in found} == broken


@pytest.fixture(scope="module")
def beauty():
    if not BEAUTY.is_dir():
        pytest.skip("the Amazon Beauty files are not here")
    with gzip.open(BEAUTY / "reviews_Beauty_5.json.gz", "rt") as file:
        reviews = [json.loads(line) for line in file]
    _, user = np.unique([review["reviewerID"] for review in reviews], return_inverse=True)
    _, item = np.unique([review["asin"] for review in reviews], return_inverse=True)
    ts = np.array([review["unixReviewTime"] * 1000 for review in reviews])
    order = np.lexsort((ts, user))
    user, item, ts = user[order] + 1, item[order] + 1, ts[order]
    new = (np.diff(user, prepend=0) != 0) | (np.diff(ts, prepend=-1) != 0)
    index = np.arange(len(user))
    seq = index - np.maximum.accumulate(np.where(new, index, 0))
    user, item, seq = (column.astype(np.int32) for column in (user, item, seq))
    ones = np.ones(len(user), np.int32)
    return (
        RecEvents(user, ts, seq, item, ones.astype(np.uint8)),
        make_searches(user, ts, seq, ones, np.arange(len(user) + 1), item),
    )


@pytest.mark.parametrize(
    ("name", "order", "counts"),
    [
        ("leave_one_out_joint", "time", [142_628, 17_452, 17_452]),
        ("leave_one_out_joint", "source", [153_776, 22_363, 22_363]),
        ("global_time", "time", [158_689, 19_666, 20_147]),
    ],
)
def test_reference_counts_on_amazon_beauty(beauty, name, order, counts):
    split = make_split(name, *beauty, order)
    for task in TASKS:  # every purchase is a search too
        assert [len(split.rows[task, part]) for part in PARTS] == counts
    if name == "global_time":
        assert (split.info["t1"], split.info["t2"]) == (1394150400000, 1399939200000)
    else:
        assert split.info["unused"] == 2 * (198_502 - sum(counts))
        assert check_joint_invariant(*beauty, split.rows, order) == []
