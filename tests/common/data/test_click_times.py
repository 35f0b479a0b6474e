"""When a click happened, and that nothing knows of it before: the echo of real logs."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.audit import audit_dataset, format_report
from common.data.click_times import (
    describe_click_times,
    match_clicks,
    order_clicks,
    settle_clicks,
)
from common.data.events import PARTS, TASKS, RecEvents
from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.negatives import train_items
from common.data.readers.table_options import TableOptions
from common.data.readers.tables import read_tables
from common.data.splits import SPLITS, make_split
from common.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=50)
SHARED = Path(__file__).resolve().parents[3] / ".." / "shared"
MINUTE = 60_000


def _rec(rows):
    user, ts, item, label = np.array(rows, np.int64).reshape(-1, 4).T
    return RecEvents(
        user.astype(np.int32), ts, np.zeros(len(ts), np.int32), item.astype(np.int32),
        label.astype(np.uint8),
    )  # fmt: skip


def _match(rec, clicks, window=100):
    user, ts, item = np.array(clicks, np.int64).T
    return match_clicks(rec, user.astype(np.int32), item.astype(np.int32), ts, window).tolist()


def test_a_click_is_the_nearest_interaction_from_its_search_on():
    rec = _rec([(1, 50, 7, 1), (1, 90, 7, 1), (1, 60, 8, 0), (2, 40, 7, 1), (1, 300, 9, 1)])
    clicks = [
        (1, 40, 7),  # 50 is nearer than 90
        (1, 50, 7),  # at the search's own time
        (1, 51, 7),  # only 90 is left
        (1, 91, 7),  # nothing follows
        (1, 40, 8),  # item 8 was only shown
        (1, 200, 9),  # just within the window
        (1, 199, 9),  # just outside
        (3, 40, 7),  # another user's interactions are none
    ]
    assert _match(rec, clicks) == [50, 50, 90, -1, -1, 300, -1, -1]


def test_without_interactions_nothing_matches():
    assert _match(_rec([]), [(1, 40, 7)]) == [-1]
    nothing = np.zeros(0, np.int64)
    assert not len(match_clicks(_rec([(1, 5, 5, 1)]), nothing, nothing, nothing))


@PROPERTY
@given(
    rec=st.lists(st.tuples(*[st.integers(1, 3)] * 3, st.integers(0, 1)), max_size=12),
    clicks=st.lists(st.tuples(*[st.integers(1, 3)] * 3), min_size=1, max_size=12),
    window=st.integers(0, 3),
)
def test_matching_equals_a_plain_loop(rec, clicks, window):
    expected = []
    for user, ts, item in clicks:
        fits = [r[1] for r in rec if r[0] == user and r[2] == item and r[3]]
        expected.append(min((t for t in fits if 0 <= t - ts <= window), default=-1))
    assert _match(_rec(rec), clicks, window) == expected


def test_a_given_time_holds_and_the_rest_is_counted():
    rec = _rec([(1, 50, 7, 1)])
    user, ts, item = np.ones(3, np.int32), np.array([40, 40, 40]), np.array([7, 7, 8], np.int32)
    times, told = settle_clicks(rec, user, item, ts, np.array([45, -1, -1]), 100)
    assert times.tolist() == [45, 50, 40]
    assert told == {"given": 1, "matched": 1, "unmatched": 1, "window_ms": 100}
    with pytest.raises(InputError, match="--click_window=-1: use seconds, 0 or more"):
        TableOptions(click_window=-1)


def test_what_is_told_of_the_times():
    told = {"given": 0, "matched": 3, "unmatched": 2, "delays_s": {"50 %": 41.5, "100 %": 60.0}}
    assert describe_click_times(told) == [
        "3 taken from the interaction that the click is, 2 without an interaction, so they count "
        "from their search on",
        "seconds after the search (50/100 %): 41.5/60",
        "if interactions are purchases and not the clicks themselves, give `click_times`",
    ]
    assert describe_click_times({"delays_s": {}}) == []


# The split: what a search teaches is known at its last click.


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    order=st.sampled_from(["time", "source"]),
    name=st.sampled_from(SPLITS),
)
def test_no_row_of_train_or_valid_is_clicked_in_at_or_after_the_next_cut(
    random_log, make_dataset, seed, order, name
):
    rec, search = random_log(seed, n_events=90, n_times=20)
    try:
        split = make_split(name, rec, search, order)
    except InputError:  # no positives, or equal cut times
        return
    click_seq = order_clicks(rec, search)
    for task, events in (("rec", rec), ("search", search)):
        for early, late in (("train", "valid"), ("train", "test"), ("valid", "test")):
            for row in split.rows["search", early]:
                for x in range(search.click_off[row], search.click_off[row + 1]):
                    when = (search.click_ts[x], click_seq[x])
                    for other in split.rows[task, late]:
                        if name == "leave_one_out_per_task" and task == "rec":
                            continue  # one task's cuts do not bind the other
                        if name != "global_time" and events.user[other] != search.user[row]:
                            continue
                        now = (events.ts[other], events.seq[other])
                        width = 2 if order == "source" and name != "global_time" else 1
                        assert when[:width] < now[:width]


def test_the_graph_has_no_edge_that_a_search_learned_after_the_cut(
    rec_events, search_events, make_dataset
):
    """The search at 5 is clicked at 30, which is the valid purchase: it is history only."""
    rec = rec_events([(1, 10, 0, 1, 1), (1, 30, 0, 2, 1), (1, 50, 0, 3, 1)])
    search = search_events([(1, 5, 0, 1, ((2, 30),)), (1, 6, 0, 1, ((4, 8),))])
    rows = make_split("leave_one_out_joint", rec, search, "time").rows
    assert rows["rec", "test"].tolist() == [2]
    assert rows["rec", "valid"].tolist() == [1]
    assert rows["search", "train"].tolist() == [1]
    _, items = train_items(make_dataset(rec, search, rows=rows))
    assert sorted(items.tolist()) == [1, 4]


# The audit


def _figure(report, name):
    return dict(report.figures)[name]


def _store(dataset, folder, task, rec, search):
    """Stores one history for the one test row of a task, as a published pipeline does."""
    path = folder / "history" / dataset.split
    path.mkdir(parents=True)
    events = [*rec, *[-1] * len(search)], [*[-1] * len(rec), *search]
    np.savez(path / f"{task}_test.npz", offsets=[0, len(events[0])], rec_row=events[0],
             search_row=events[1])  # fmt: skip


@pytest.fixture
def echo(rec_events, search_events, make_dataset):
    """The test purchase of item 3 at 90 was clicked at 90, in the search of 80."""
    rec = rec_events([(1, 10, 0, 1, 1), (1, 50, 0, 2, 1), (1, 90, 0, 3, 1)])
    search = search_events([(1, 5, 0, 1, (1,)), (1, 80, 0, 1, ((3, 90),))])
    rows = make_split("leave_one_out_joint", rec, search, "time").rows
    return make_dataset(rec, search, rows=rows)


def test_the_timeline_has_no_echo(echo):
    report = audit_dataset(echo)
    assert report.faults == ()
    assert _figure(report, "rec_test targets").startswith("true repeats 0 of 1 (0.0 %)")


def test_a_stored_history_that_gives_a_search_all_its_clicks_is_an_echo(echo, tmp_path):
    leaky = dataclasses.replace(echo, path=tmp_path)
    _store(leaky, tmp_path, "rec", [0, 1], [0, 1])
    (fault,) = audit_dataset(leaky).faults
    assert (fault.check, fault.where, fault.number) == ("F16", "rec_test", 1)
    assert fault.what == (
        "target is known to its history only through a click not strictly earlier (an echo)"
    )
    assert fault.examples == ("rec row 3 (user #1, item #3, ts_ms 90, seq 0)",)


def test_an_item_that_was_taken_before_is_a_repeat_and_no_echo(
    rec_events, search_events, make_dataset, tmp_path
):
    rec = rec_events([(1, 10, 0, 3, 1), (1, 50, 0, 2, 1), (1, 90, 0, 3, 1)])
    search = search_events([(1, 80, 0, 1, ((3, 90),))])
    rows = make_split("leave_one_out_joint", rec, search, "time").rows
    dataset = dataclasses.replace(make_dataset(rec, search, rows=rows), path=tmp_path)
    _store(dataset, tmp_path, "rec", [0, 1], [0])
    report = audit_dataset(dataset)
    assert report.faults == ()
    assert _figure(report, "rec_test targets") == (
        "true repeats 1 of 1 (100.0 %): 1 taken before, 0 only clicked in a search before"
    )


def test_a_click_before_its_search_cannot_be(rec_events, search_events, make_dataset):
    rec = rec_events([(1, 10, 0, 1, 1), (1, 50, 0, 2, 1), (1, 90, 0, 3, 1)])
    search = search_events([(1, 95, 0, 1, ((3, 80),))])
    rows = make_split("leave_one_out_joint", rec, search, "time").rows
    report = audit_dataset(make_dataset(rec, search, rows=rows))
    assert [(fault.check, fault.where, fault.number) for fault in report.faults] == [
        ("F07", "search", 1)
    ]
    assert "LEAKS OR FAULTS: F07" in format_report(report)


# Whole logs


def _prepare(out, raw, **changes):
    write_dataset(out, read_tables(raw), PrepareSettings(**{"negatives": 1} | changes))
    return load_dataset(out)


def _count_known(dataset, task="rec", part="test"):
    rows = dataset.rows[task, part]
    line = dataset.timeline
    known = line.known_items(task, rows)
    hit = known.item == dataset.events(task).target[rows][known.owner]
    return len(np.unique(known.owner[hit])), len(rows)


@pytest.mark.skipif(not (SHARED / "cases").is_dir(), reason="no ../shared/cases beside this folder")
def test_the_smallest_echo(tmp_path):
    dataset = _prepare(tmp_path / "echo", SHARED / "cases/echo_smallest", negatives=2)
    assert dataset.manifest["click_times"]["matched"] == 6
    assert (dataset.search.click_ts - dataset.search.ts).tolist() == [MINUTE] * 6
    assert _count_known(dataset) == (0, 2)
    report = audit_dataset(dataset)
    assert report.faults == ()
    assert _figure(report, "rec_test targets").startswith("true repeats 0 of 2 (0.0 %)")


@pytest.mark.skipif(not (SHARED / "data/shop_log").is_dir(), reason="no shop_log in ../shared")
def test_a_shops_log(tmp_path):
    """Counted from the files by hand: 999 clicks, each logged as an interaction 3.0 s to 299.3 s
    later; of 48 users with three clicks none clicks the last item twice."""
    dataset = _prepare(tmp_path / "shop", SHARED / "data/shop_log")
    told = dataset.manifest["click_times"]
    assert [told[name] for name in ("given", "matched", "unmatched")] == [0, 999, 0]
    assert told["delays_s"]["100 %"] == 299.301
    assert _count_known(dataset) == (0, 48)
    report = audit_dataset(dataset)
    assert report.faults == ()
    assert _figure(report, "rec_test targets").startswith("true repeats 0 of 48 (0.0 %)")


def test_the_manifest_tells_how_the_times_are_known(tmp_path):
    """Each of four searches of two users has two clicks; one of them is an interaction 50 s on."""
    raw = tmp_path / "raw"
    raw.mkdir()
    bought, clicked = "abcdefgh", "ijklmnop"
    times = [1_700_000_000 + 10_000 * i for i in range(4)] * 2
    users = "uuuuvvvv"
    (raw / "items.csv").write_text("item\n" + "\n".join(bought + clicked) + "\n")
    events = list(zip(users, times, bought, clicked, strict=True))
    (raw / "interactions.csv").write_text(
        "user,item,time\n" + "".join(f"{u},{item},{ts}\n" for u, ts, item, _ in events)
    )
    (raw / "searches.csv").write_text(
        "user,query,time,clicked\n"
        + "".join(f"{u},q,{ts - 50},{item} {other}\n" for u, ts, item, other in events)
    )
    dataset = _prepare(tmp_path / "data", raw)
    manifest = json.loads((tmp_path / "data/dataset.json").read_text())
    shares = {"5 %": 0.0, "25 %": 0.0, "50 %": 0.0, "75 %": 50.0, "95 %": 50.0, "100 %": 50.0}
    assert manifest["click_times"] == {
        "given": 0, "matched": 8, "unmatched": 8, "window_ms": 3_600_000, "delays_s": shares
    }  # fmt: skip
    # The earliest click of each search is the one that has no interaction: its target.
    assert dataset.search.target.tolist() == list(range(9, 17))
    for task in TASKS:
        for part in PARTS[1:]:
            assert _count_known(dataset, task, part)[0] == 0
