"""Histories are strict: what the arrays say equals what a plain loop over the log says."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.bounds import END_MS
from common.data.timeline import _pack_keys, build_timeline, expand_ranges
from common.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=50)


def _is_earlier(order, events, row, of, target):
    """Whether row of `events` is strictly before row `target` of the table `of`."""
    if events.user[row] != of.user[target]:
        return False
    if order == "time":
        return events.ts[row] < of.ts[target]
    return (events.ts[row], events.seq[row]) < (of.ts[target], of.seq[target])


def _naive_history(order, rec, search, task, target):
    """Row numbers of the rec events and searches before a target."""
    of = rec if task == "rec" else search
    return (
        [
            row
            for row in range(len(rec.user))
            if rec.label[row] == 1 and _is_earlier(order, rec, row, of, target)
        ],
        [row for row in range(len(search.user)) if _is_earlier(order, search, row, of, target)],
    )


def _place_click(rec, search, s, x):
    """seq of click x of search s: after all of its instant, unless it is the search's own; then
    that of the search, or of the interaction which it is."""
    if search.click_ts[x] != search.ts[s]:
        return 10**9
    own = [search.seq[s]]
    for row in range(len(rec.user)):
        same = (rec.user[row], rec.ts[row], rec.item[row])
        if rec.label[row] and same == (search.user[s], search.ts[s], search.click_item[x]):
            own.append(rec.seq[row])
    return max(own)


def _clicks_before(order, rec, search, s, of, target):
    """The items of search s that were clicked strictly before row `target` of the table `of`."""
    now = (of.ts[target], of.seq[target] if order == "source" else 0)
    shown = []
    for x in range(search.click_off[s], search.click_off[s + 1]):
        seq = _place_click(rec, search, s, x)
        if (search.click_ts[x], seq if order == "source" else 0) < now:
            shown.append(int(search.click_item[x]))
    return shown


@pytest.fixture(scope="session")
def worked_log(rec_events, search_events):
    """User 1: a purchase, then at ts 200 a purchase, its search copy, another search, a purchase.

    User 2: one exposure and one purchase. User 3: nothing.
    """
    rec = rec_events(
        [
            (1, 100, 0, 5, 1),
            (1, 200, 0, 6, 1),
            (1, 200, 2, 7, 1),
            (2, 50, 0, 5, 0),
            (2, 60, 0, 8, 1),
        ]
    )
    return rec, search_events([(1, 200, 0, 1, (6,)), (1, 200, 1, 2, ())])


@pytest.mark.parametrize(
    ("order", "task", "row", "rec_rows", "search_rows"),
    [
        ("time", "rec", 0, [], []),
        ("time", "rec", 1, [0], []),
        ("time", "rec", 2, [0], []),  # all of ts 200 is one instant
        ("time", "rec", 4, [], []),  # an exposure is no history
        ("time", "search", 0, [0], []),
        ("time", "search", 1, [0], []),
        ("source", "rec", 1, [0], []),  # the copy has the purchase's own key
        ("source", "rec", 2, [0, 1], [0, 1]),
        ("source", "search", 0, [0], []),
        ("source", "search", 1, [0, 1], [0]),
    ],
)
def test_worked_histories(worked_log, order, task, row, rec_rows, search_rows):
    line = build_timeline(*worked_log, n_users=3, history_order=order)
    rec_end, search_end, rec_start, search_start = line.ends(task, np.array([row]))
    assert line.rec_row[rec_start[0] : rec_end[0]].tolist() == rec_rows
    assert list(range(search_start[0], search_end[0])) == search_rows


def test_history_items_leave_the_target_out(rec_events, search_events):
    rec = rec_events([(1, 1, 0, 5, 1), (1, 2, 0, 6, 1), (1, 3, 0, 5, 1), (1, 9, 0, 5, 1)])
    search = search_events([(1, 4, 0, 1, (7, 5)), (1, 5, 0, 1, ()), (1, 6, 0, 2, (8,))])
    line = build_timeline(rec, search, 1, "time")
    offsets, items = line.history_items("rec", np.array([3, 0]))
    assert offsets.tolist() == [0, 3, 3]
    assert items.tolist() == [6, 7, 8]  # item 5 was bought twice and clicked before
    offsets, items = line.history_items("search", np.array([1, 2]))
    assert items.tolist() == [5, 6, 5, 7, 5, 5, 6, 5, 7, 5]
    assert offsets.tolist() == [0, 5, 10]


@pytest.mark.parametrize("order", ["time", "source"])
def test_a_click_is_history_only_after_its_own_time(rec_events, search_events, order):
    """The shop's echo: search at 100, its click at 160, logged as an interaction at 160 too."""
    rec = rec_events([(1, 160, 0, 5, 1), (1, 161, 0, 6, 1), (1, 900, 0, 7, 1)])
    search = search_events([(1, 100, 0, 1, ((5, 160), (9, 700), (8, 100)))])
    line = build_timeline(rec, search, 1, order)
    known = line.known_items("rec", np.array([0, 1, 2]))
    clicked = [known.item[(known.owner == i) & known.is_click].tolist() for i in range(3)]
    assert clicked == [[8], [8, 5], [8, 5, 9]]
    assert line.search_target.tolist() == [8]  # the earliest click
    _, items = line.history_items("rec", np.array([0]))
    assert items.tolist() == [8]


def test_a_click_in_source_order_comes_no_earlier_than_the_interaction_that_it_is(
    rec_events, search_events
):
    """A log of days: the search has seq 1, the purchase of its click seq 2, another one seq 3."""
    rec = rec_events([(1, 9, 2, 5, 1), (1, 9, 3, 6, 1)])
    search = search_events([(1, 9, 1, 1, (5, 7))])
    line = build_timeline(rec, search, 1, "source")
    known = line.known_items("rec", np.array([0, 1]))
    clicked = [known.item[(known.owner == i) & known.is_click].tolist() for i in range(2)]
    assert clicked == [[7], [5, 7]]


@PROPERTY
@given(seed=st.integers(0, 10_000), order=st.sampled_from(["time", "source"]))
def test_histories_equal_a_plain_loop(random_log, seed, order):
    rec, search = random_log(seed)
    line = build_timeline(rec, search, 4, order)
    for task, events in (("rec", rec), ("search", search)):
        rows = np.flatnonzero(events.positive)
        rec_end, search_end, rec_start, search_start = line.ends(task, rows)
        offsets, items = line.history_items(task, rows)
        sizes = line.history_size(task, rows)
        for i, row in enumerate(rows):
            before, searched = _naive_history(order, rec, search, task, row)
            assert line.rec_row[rec_start[i] : rec_end[i]].tolist() == before
            assert list(range(search_start[i], search_end[i])) == searched
            assert sizes[i] == len(before) + len(searched)
            taken = [rec.item[r] for r in before]
            for s in searched:
                taken += _clicks_before(order, rec, search, s, events, row)
            expected = [item for item in taken if item != events.target[row]]
            assert items[offsets[i] : offsets[i + 1]].tolist() == expected


def test_keys_that_do_not_fit_64_bits_are_ranked(rec_events, search_events):
    # 3 users x a span of 2^61 ms x 2 seqs is more than an int64 holds.
    far = 2**61
    rec = rec_events([(1, 0, 0, 5, 1), (3, 7, 0, 6, 1), (3, far, 1, 7, 1)])
    search = search_events([(3, 7, 1, 1, (6,)), (3, far, 0, 1, (5,))])
    line = build_timeline(rec, search, 3, "source")
    assert line.history_size("rec", np.array([0, 1, 2])).tolist() == [0, 0, 3]
    assert line.history_size("search", np.array([0, 1])).tolist() == [1, 2]


EVENTS = st.lists(
    st.tuples(
        st.integers(1, 2**31 - 1),  # user
        st.integers(0, END_MS - 1) | st.sampled_from([0, END_MS - 1]),
        st.integers(0, 2**31 - 1),  # seq
    ),
    max_size=30,
)


@given(tables=st.tuples(EVENTS, EVENTS, EVENTS))
def test_keys_of_all_times_compare_like_what_they_are_made_of(tables):
    columns = [
        tuple(np.array([event[i] for event in table], np.int64) for table in tables)
        for i in range(3)
    ]
    _check_keys(columns)


@given(
    values=st.lists(
        st.tuples(*[st.sampled_from([0, 1, 2**31 - 1, 2**40, 2**61, 2**62 - 1])] * 3), max_size=12
    )
)
def test_keys_of_any_numbers_do_not_wrap(values):
    column = np.array(values, np.int64).reshape(-1, 3)
    _check_keys([(part, part[:0], part[1:]) for part in column.T])


def _check_keys(columns):
    events = np.stack([np.concatenate(column) for column in columns], axis=1)
    keys = np.concatenate(_pack_keys(columns))
    for one in range(len(events)):
        for other in range(one):
            left, right = tuple(events[one]), tuple(events[other])
            assert (keys[one] < keys[other]) == (left < right)
            assert (keys[one] == keys[other]) == (left == right)


@pytest.mark.parametrize(("task", "row"), [("rec", 3), ("rec", 5), ("search", 2), ("search", -1)])
def test_rows_that_are_no_events_are_refused(worked_log, task, row):
    line = build_timeline(*worked_log, n_users=3, history_order="time")
    with pytest.raises(InputError, match=rf"{task}.parquet, row {row + 1}: no event"):
        line.ends(task, np.array([row]))


def test_an_unsorted_table_is_refused(worked_log):
    rec, search = worked_log
    swapped = rec._replace(ts=rec.ts[[1, 0, 2, 3, 4]])
    with pytest.raises(InputError, match=r"rec\.parquet, row 2: .* sort the table"):
        build_timeline(swapped, search, 3, "time")


def test_an_unknown_order_is_refused(worked_log):
    with pytest.raises(InputError, match="history_order 'file': unknown"):
        build_timeline(*worked_log, n_users=3, history_order="file")


def test_a_dataset_has_its_own_timeline(worked_log, make_dataset):
    dataset = make_dataset(*worked_log)
    assert dataset.timeline is dataset.timeline
    assert dataset.timeline.history_order == "time"
    longer = dataclasses.replace(dataset, rec=dataset.rec._replace(ts=dataset.rec.ts + 1))
    assert longer.timeline.rec_ts.tolist() == (dataset.timeline.rec_ts + 1).tolist()


@pytest.mark.parametrize("order", ["time", "source"])
def test_empty_tables_have_empty_timelines(rec_events, search_events, order):
    line = build_timeline(rec_events([]), search_events([]), 2, order)
    assert line.rec_off.tolist() == line.search_off.tolist() == [0, 0, 0, 0]
    offsets, items = line.history_items("rec", np.zeros(0, np.int64))
    assert offsets.tolist() == [0]
    assert not len(items)


def test_expand_ranges():
    place = expand_ranges(np.array([5, 2, 9]), np.array([2, 0, 3]))
    assert place.tolist() == [5, 6, 9, 10, 11]
