"""Every leak has a planted fault that the audit names, and a clean twin that it passes."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from common.data import audit_histories
from common.data.audit import audit_dataset, format_report
from common.data.audit_faults import read_log
from common.data.audit_histories import check_histories
from common.data.candidates import draw_uniform_lists, ever_items
from common.data.dataset import CandidateList
from common.data.events import PARTS, TASKS
from common.data.loading import make_rec_events, make_search_events
from common.data.readers.amazon_2014 import read_amazon
from common.data.schema import conform_table
from common.data.splits import make_split
from common.data.timeline import build_timeline, expand_ranges
from common.errors import InputError

N_ITEMS, NEGATIVES = 60, 9
BEAUTY = Path(__file__).resolve().parents[3] / ".." / "shared/data/amazon_beauty_2014"


def _with_rows(dataset, changes):
    return dataclasses.replace(dataset, rows=dict(dataset.rows) | changes)


def _with_lists(dataset, lists):
    """lists: (task, part) -> name -> array."""

    def load_lists(task, part):
        named = lists.get((task, part), {})
        return {name: CandidateList(items, "") for name, items in named.items()}

    return dataclasses.replace(dataset, load_lists=load_lists)


def _draw_lists(dataset):
    ever = ever_items(dataset.rec, dataset.search, dataset.n_users)
    lists = {}
    for task in TASKS:
        events = dataset.events(task)
        for part in ("valid", "test"):
            rows = dataset.rows[task, part]
            drawn = draw_uniform_lists(
                task, rows, events.target[rows], events.user[rows], ever, N_ITEMS, 0, NEGATIVES
            )
            lists[task, part] = {"uniform99": drawn}
    return lists


@pytest.fixture(scope="module", params=["time", "source"])
def clean(request, random_log, make_dataset):
    """A joint split of a log full of ties, with sound lists."""
    order = request.param
    rec, search = random_log(11, n_users=9, n_items=40, n_events=260, n_times=40)
    rows = make_split("leave_one_out_joint", rec, search, order).rows
    dataset = make_dataset(rec, search, history_order=order, n_items=N_ITEMS, rows=rows)
    assert all(len(rows[task, part]) >= 2 for task in TASKS for part in PARTS)
    return _with_lists(dataset, _draw_lists(dataset))


@pytest.fixture(scope="module")
def shop(rec_events, search_events, make_dataset):
    """The published recipe's trap: days as times, and each purchase copied to search.

    User 1 buys items 1 and 2 on day 1, 3 on day 2, 4 and 5 on day 3.
    """
    days = [(1, 1), (1, 2), (2, 3), (3, 4), (3, 5)]
    rec = rec_events([(1, day, item, item, 1) for day, item in days])
    search = search_events([(1, day, item, 1, (item,)) for day, item in days])
    parts = {"train": [0, 1], "valid": [2], "test": [4]}
    rows = {(task, part): np.array(parts[part]) for task in TASKS for part in PARTS}
    return make_dataset(rec, search, rows=rows)


def _store_histories(dataset, folder, task, part, histories):
    """histories: per row of the part, lists of rec rows and of search rows."""
    rec = [row for recs, searches in histories for row in [*recs, *[-1] * len(searches)]]
    search = [row for recs, searches in histories for row in [*[-1] * len(recs), *searches]]
    path = folder / "history" / dataset.split
    path.mkdir(parents=True, exist_ok=True)
    offsets = np.cumsum([0] + [len(recs) + len(searches) for recs, searches in histories])
    np.savez(path / f"{task}_{part}.npz", offsets=offsets, rec_row=rec, search_row=search)
    return dataclasses.replace(dataset, path=folder)


def _checks(dataset):
    return {fault.check for fault in audit_dataset(dataset).faults}


def _fault(dataset, check, where):
    found = [f for f in audit_dataset(dataset).faults if (f.check, f.where) == (check, where)]
    assert len(found) == 1, [f[:3] for f in audit_dataset(dataset).faults]
    return found[0]


def _figure(dataset, start):
    found = [value for name, value in audit_dataset(dataset).figures if name.startswith(start)]
    assert len(found) == 1, found
    return found[0]


def test_a_clean_dataset_is_clean(clean):
    report = audit_dataset(clean)
    assert report.faults == ()
    assert format_report(report).splitlines()[-1].strip() == "clean"


def test_a_clean_shop_is_clean(shop):
    assert _checks(shop) == set()


# --- histories: F09, F10, L1, L2


def test_the_published_counters_leak_the_target(shop, tmp_path):
    """The rec counter of item 5 counts item 4, the search counter counts the copy of item 5."""
    leaky = _store_histories(shop, tmp_path, "rec", "test", [([0, 1, 2, 3], [0, 1, 2, 3, 4])])
    late = _fault(leaky, "F10", "rec_test")
    assert late.number == 1
    assert late.examples[0] == (
        "rec row 5 (user #1, item #5, ts_ms 3, seq 5) has "
        "rec row 4 (user #1, item #4, ts_ms 3, seq 4) in its history"
    )
    own = _fault(leaky, "F09", "rec_test")
    assert own.examples == ("rec row 5 (user #1, item #5, ts_ms 3, seq 5)",)
    assert "1 of 1" in _figure(leaky, "L2 rec_test")


def test_a_sound_stored_history_is_clean(shop, tmp_path):
    sound = _store_histories(shop, tmp_path, "rec", "test", [([0, 1, 2], [0, 1, 2])])
    assert _checks(sound) == set()
    assert "0 of 1" in _figure(sound, "L2 rec_test")


def test_a_tied_event_of_another_item_is_late_but_no_own_target(shop, tmp_path):
    leaky = _store_histories(shop, tmp_path, "search", "test", [([3], [0])])
    assert _checks(leaky) == {"F10"}


def test_another_users_event_is_no_history(rec_events, search_events, make_dataset, tmp_path):
    rec = rec_events([(u, t, 0, 10 * u + t, 1) for u in (1, 2) for t in (1, 2, 3)])
    rows = {("rec", p): np.array([i, 3 + i]) for i, p in enumerate(PARTS)}
    dataset = make_dataset(rec, search_events([]), rows=rows)
    assert _checks(dataset) == set()
    # User 2 (rows 4 to 6 in the table) gets an early event of user 1.
    mixed = _store_histories(dataset, tmp_path, "rec", "test", [([0], []), ([0, 3], [])])
    assert _fault(mixed, "F10", "rec_test").number == 1


def test_a_true_repeat_is_counted_and_not_a_fault(rec_events, search_events, make_dataset):
    rec = rec_events([(1, 1, 0, 7, 1), (1, 2, 0, 8, 1), (1, 3, 0, 7, 1)])
    rows = {("rec", part): np.array([i]) for i, part in enumerate(PARTS)}
    dataset = make_dataset(rec, search_events([]), rows=rows)
    assert _checks(dataset) == set()
    assert _figure(dataset, "rec_test targets") == (
        "true repeats 1 of 1 (100.0 %): 1 taken before, 0 only clicked in a search before"
    )
    # The same log, from a source that says it has no repeats: the target is not to be there.
    strict = dataclasses.replace(dataset, manifest=dataset.manifest | {"no_repeats": True})
    assert _fault(strict, "F09", "rec_test").number == 1


@pytest.mark.parametrize("field", ["rec_first_same", "rec_to_search"])
def test_a_wrong_timeline_is_found_from_the_raw_tables(clean, monkeypatch, field):
    def build_wrongly(rec, search, n_users, order):
        line = build_timeline(rec, search, n_users, order)
        events = line.search_off if field == "rec_to_search" else line.rec_off
        later = np.minimum(getattr(line, field) + 1, events[line.rec_user + 1])
        return dataclasses.replace(line, **{field: later})

    monkeypatch.setattr("common.data.dataset.build_timeline", build_wrongly)
    assert "F10" in _checks(dataclasses.replace(clean))


def test_small_chunks_find_the_same(clean, shop, monkeypatch, tmp_path):
    leaky = _store_histories(shop, tmp_path, "rec", "test", [([0, 1, 2, 3], [0, 1, 2, 3, 4])])
    whole = [audit_dataset(dataset) for dataset in (clean, leaky)]
    monkeypatch.setattr(audit_histories, "_CHUNK", 3)
    assert [audit_dataset(dataset) for dataset in (clean, leaky)] == whole


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"offsets": [0, 1], "rec_row": [0]}, "no array search_row"),
        ({"offsets": [0, 2], "rec_row": [0], "search_row": [-1]}, "do not describe 1 histories"),
        ({"offsets": [0, 1], "rec_row": [0], "search_row": [0]}, "event 1: not exactly one"),
        ({"offsets": [0, 1], "rec_row": [9], "search_row": [-1]}, "rec_row 9 is outside"),
    ],
)
def test_a_stored_history_that_does_not_fit_is_bad_input(shop, tmp_path, arrays, message):
    folder = tmp_path / "history" / shop.split
    folder.mkdir(parents=True)
    np.savez(folder / "rec_test.npz", **{name: np.array(a) for name, a in arrays.items()})
    with pytest.raises(InputError, match=message):
        audit_dataset(dataclasses.replace(shop, path=tmp_path))


# --- splits: F08, F12, L3, L4


def test_a_row_in_two_parts(clean):
    row = clean.rows["rec", "test"][:1]
    train = np.sort(np.append(clean.rows["rec", "train"], row))
    fault = _fault(_with_rows(clean, {("rec", "train"): train}), "F08", "rec")
    assert fault.number == 1
    assert fault.examples[0].startswith(f"rec row {row[0] + 1} (user ")
    assert fault.examples[0].endswith("in train and test")


def test_a_row_outside_the_table(clean):
    rows = np.append(clean.rows["search", "valid"], 10_000)
    fault = _fault(_with_rows(clean, {("search", "valid"): rows}), "F08", "search_valid")
    assert fault.examples == ("search row 10001 (not in the table)",)


def test_a_row_without_a_target(clean):
    shown = np.flatnonzero(~clean.rec.positive)[:1]
    rows = np.sort(np.append(shown, clean.rows["rec", "train"]))
    fault = _fault(_with_rows(clean, {("rec", "train"): rows}), "F08", "rec_train")
    assert "no positive" in fault.what


@pytest.mark.parametrize("part", PARTS)
def test_an_empty_part(clean, part):
    nothing = np.zeros(0, np.int64)
    changed = _with_rows(clean, {(task, part): nothing for task in TASKS})
    assert _fault(changed, "F08", part).what == "part is empty"


def test_rows_out_of_order(clean):
    rows = clean.rows["rec", "train"][::-1]
    assert (
        "ascending" in _fault(_with_rows(clean, {("rec", "train"): rows}), "F08", "rec_train").what
    )


def test_a_service_without_positives_has_empty_parts_for_a_reason(
    rec_events, search_events, make_dataset
):
    rec = rec_events([(1, t, 0, t, 1) for t in (1, 2, 3)])
    rows = {("rec", part): np.array([i]) for i, part in enumerate(PARTS)}
    assert _checks(make_dataset(rec, search_events([(1, 2, 0, 1, ())]), rows=rows)) == set()


def test_train_after_the_cut(clean):
    """The last train row of a user changes places with the test row."""
    test = clean.rows["rec", "test"]
    users = clean.rec.user[clean.rows["rec", "train"]]
    user = clean.rec.user[test[0]]
    last = clean.rows["rec", "train"][users == user][-1]
    train = np.sort(np.append(np.setdiff1d(clean.rows["rec", "train"], [last]), test[0]))
    changed = _with_rows(
        clean, {("rec", "train"): train, ("rec", "test"): np.sort(np.append(test[1:], last))}
    )
    fault = _fault(changed, "F12", "split")
    assert f"user #{user}," in fault.examples[0]


def test_one_tasks_target_in_the_other_tasks_training(rec_events, search_events, make_dataset):
    """A per-task split of copied purchases: the rec test purchase is a train click of search."""
    rec = rec_events([(1, t, 0, t, 1) for t in (1, 2, 3)])
    search = search_events([(1, t, 0, 1, (t,)) for t in (1, 2, 3, 4, 5)])
    rows = {("rec", part): np.array([i]) for i, part in enumerate(PARTS)}
    rows |= {("search", part): np.array(r) for part, r in zip(PARTS, ([0, 1, 2], [3], [4]),
                                                               strict=True)}  # fmt: skip
    dataset = make_dataset(rec, search, rows=rows)
    assert _checks(dataset) == {"L3", "F12"}
    assert _fault(dataset, "L3", "rec_test").examples == (
        "rec row 3 (user #1, item #3, ts_ms 3, seq 0) is "
        "search row 3 (user #1, query #1, item #3, ts_ms 3, seq 0)",
    )
    assert _fault(dataset, "L3", "rec_valid").number == 1
    # Search row 3 (ts 3) is not before rec's test cut; rec's own train is before search's.
    assert "1 of 4" in _figure(dataset, "L4")
    assert "0 of 2" in _figure(dataset, "L3 rec")


def test_the_same_item_at_an_earlier_time_is_only_counted(rec_events, search_events, make_dataset):
    rec = rec_events([(1, t, 0, t, 1) for t in (1, 2, 3)])
    search = search_events([(1, 1, 0, 1, (3,)), (1, 2, 1, 1, (9,)), (1, 3, 1, 1, (8,))])
    rows = {(task, part): np.array([i]) for task in TASKS for i, part in enumerate(PARTS)}
    dataset = make_dataset(rec, search, rows=rows)
    assert _checks(dataset) == set()
    assert "1 of 2" in _figure(dataset, "L3 rec")


# --- candidate lists: F11, L5, L6, L7, L12, L15, F15


def _spoil(clean, change, name="uniform99"):
    """The clean lists with `change(rec test lists, targets)` applied."""
    lists = _draw_lists(clean)
    array = lists["rec", "test"]["uniform99"].copy()
    changed = change(array)
    lists["rec", "test"] = {name: array if changed is None else changed}
    return _with_lists(clean, lists)


def test_a_repeated_item(clean):
    def repeat(array):
        array[1, 3] = array[1, 5]

    fault = _fault(_spoil(clean, repeat), "F11", "uniform99 rec_test")
    assert (fault.what, fault.number) == ("list repeats an item", 1)
    row = clean.rows["rec", "test"][1]
    assert fault.examples[0].startswith(f"list 2, rec row {row + 1} (user #{clean.rec.user[row]}, ")


def test_a_list_without_its_positive(clean):
    def lose(array):
        array[0, 0] = np.setdiff1d(np.arange(1, N_ITEMS + 1), array[0])[0]

    assert "without its positive" in _fault(_spoil(clean, lose), "F11", "uniform99 rec_test").what


def test_a_positive_that_is_its_own_negative(clean):
    def double(array):
        array[0, 4] = array[0, 0]

    found = {f.what for f in audit_dataset(_spoil(clean, double)).faults}
    assert found == {"list repeats an item", "list has its positive twice"}


def test_a_positive_in_another_column(clean):
    fault = _fault(_spoil(clean, lambda array: array[:, ::-1].copy()), "F11", "uniform99 rec_test")
    assert fault.what == "positive is not in column 0"


def test_an_unknown_item(clean):
    def pad(array):
        array[0, -1] = 0  # a list of 98 among lists of 99, filled up with zeros

    assert "unknown item" in _fault(_spoil(clean, pad), "F11", "uniform99 rec_test").what


def test_lists_of_two_lengths(clean):
    fault = _fault(_spoil(clean, lambda array: array[:, :-1]), "F11", "uniform99")
    assert fault.what == "lists differ in length"
    assert any(f"rec_test: {NEGATIVES} items" in text for text in fault.examples)


def test_lists_of_another_split(clean):
    fault = _fault(_spoil(clean, lambda array: array[1:]), "F11", "uniform99 rec_test")
    assert "rows of the split" in fault.what


def test_lists_that_are_not_what_was_stored(clean):
    def load_lists(task, part):
        raise InputError(f"cand/{task}_{part}.npy: sha256 differs; draw the lists again")

    broken = dataclasses.replace(clean, load_lists=load_lists)
    assert _checks(broken) == {"F15"}
    assert "sha256 differs" in _fault(broken, "F15", "rec_test").examples[0]


@pytest.fixture(scope="module")
def worked(rec_events, search_events, make_dataset):
    """Catalogue 1..8. Train: user 1 takes 1, 2; user 2 takes 1, 3. Test target of user 1: 4.

    User 2 takes item 5 at ts 50, after every other time; user 1 searches query 2 for item 4.
    """
    rec = rec_events(
        [(1, t, 0, item, 1) for t, item in ((1, 1), (2, 2), (3, 6), (4, 4))]
        + [(2, t, 0, item, 1) for t, item in ((1, 1), (2, 3), (3, 7), (50, 5))]
    )
    search = search_events(
        [(1, t, 1, q, (item,)) for t, q, item in ((1, 1, 1), (2, 1, 2), (4, 2, 4))]
        + [(2, 2, 1, 2, (3,))]
    )
    parts = {"rec": ([0, 1, 4, 5], [2, 6], [3, 7]), "search": ([0, 3], [1], [2])}
    rows = {
        (task, part): np.array(parts[task][i]) for task in TASKS for i, part in enumerate(PARTS)
    }
    dataset = make_dataset(rec, search, n_items=8, rows=rows)
    lists = {
        ("rec", "test"): {"popularity99": np.array([[4, 5, 2, 8], [5, 8, 2, 6]], np.int32)},
        ("search", "test"): {"bm25_99": np.array([[4, 3, 8, 1]], np.int32)},
    }
    return _with_lists(dataset, lists)


def test_what_the_negatives_are(worked):
    told = _figure(worked, "popularity99 rec_test").split("; ")
    # User 1 takes item 2; user 2 takes none of 8, 2, 6. Six negatives in all.
    assert told[0] == "L5 negatives the user takes at some time 1 of 6 (16.7 %)"
    # Counts of rec train: item 1 twice, items 2 and 3 once, five items never. Percentiles:
    # never 2.5 / 8, once (5 + 1) / 8, item 1 7.5 / 8.
    never, once = 2.5 / 8, 6 / 8
    negatives = (never + once + never + never + once + never) / 6
    assert told[1] == (f"L6 popularity {negatives:.3f} (positives {never:.3f}, catalogue 0.500)")
    # Item 5 is first heard of at 50, after user 1's target (ts 4) and with user 2's own target;
    # item 8 was never heard of, so nothing is known about its time.
    assert told[2] == "L15 candidates younger than the target 1 of 8 (12.5 %)"
    # Item 3 was clicked for query 2, which is the target's; items 8 and 1 were not.
    last = _figure(worked, "bm25_99 search_test").split("; ")[-1]
    assert last == "L7 clicked for this very query 33.3 %"


def test_what_is_always_printed(worked):
    # Items 4 and 5 of the test rows are in no train row of either service; the users are.
    assert _figure(worked, "rec_test rows") == (
        "cold item 2 of 2 (100.0 %), cold user 0 of 2 (0.0 %)"
    )
    assert _figure(worked, "users with a positive").startswith("2 in both")
    assert _figure(worked, "sha256") == "ab" * 32
    text = format_report(audit_dataset(worked))
    assert text.splitlines()[0].startswith("audit of made-up, split by_hand, history order time")


def test_ties_are_counted(shop):
    # Days 1 and 3 have two purchases each.
    found = [value for name, value in audit_dataset(shop).figures if name == "rec"]
    assert found[0].endswith("tied with another 4 of 5 (80.0 %)")


@pytest.mark.skipif(not BEAUTY.is_dir(), reason="needs the Amazon Beauty 2014 files")
def test_the_published_counters_leak_39_percent_of_beauty(make_dataset, tmp_path):
    """A search's history is every purchase up to its own time, bar the last if that is its own.

    So every purchase of a day but the last leaks: 198,502 purchases on 121,100 (user, day)s.
    """
    tables = read_amazon(BEAUTY)
    rec = make_rec_events(conform_table("rec", tables.rec))
    search = make_search_events(conform_table("search", tables.search))
    rows = {("rec", "train"): np.arange(0), ("search", "train"): np.arange(0),
            ("search", "test"): np.arange(len(search.user))}  # fmt: skip
    dataset = make_dataset(rec, search, rows=rows)

    first_of_user = np.searchsorted(rec.user, rec.user)
    last_of_day = np.flatnonzero(np.append(np.diff(rec.user) | np.diff(rec.ts), 1))
    end = last_of_day[np.searchsorted(last_of_day, np.arange(len(rec.user)))] + 1
    end -= end == np.arange(len(rec.user)) + 1
    size = end - first_of_user
    folder = tmp_path / "history" / dataset.split
    folder.mkdir(parents=True)
    events = expand_ranges(first_of_user, size)
    np.savez(folder / "search_test.npz", offsets=np.append(0, np.cumsum(size)), rec_row=events,
             search_row=np.full(len(events), -1))  # fmt: skip
    leaky = dataclasses.replace(dataset, path=tmp_path)
    found = check_histories(read_log(leaky), leaky.rows)[0]
    assert [(f.check, f.number) for f in found if f.check == "F09"] == [("F09", 77_402)]
