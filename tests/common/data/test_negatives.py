"""Training negatives: which items may be drawn, how often, and what a draw depends on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.hashing import NEGATIVES, TASK_STREAM, draw_uniform
from common.data.negatives import KeySet, TrainingNegatives, row_items, train_items
from common.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=50)


def _train_taken(dataset):
    """Set of (user, item) of all train rows, by a plain loop."""
    taken = set()
    for row in dataset.rows["rec", "train"]:
        taken.add((int(dataset.rec.user[row]), int(dataset.rec.item[row])))
    search = dataset.search
    for row in dataset.rows["search", "train"]:
        for item in search.click_item[search.click_off[row] : search.click_off[row + 1]]:
            taken.add((int(search.user[row]), int(item)))
    return taken


def _naive_list(dataset, task, sampling, seed, row, user, positive, epoch, count, taken):
    """The rule, one draw at a time, as long as the first kind of draws lasts."""
    pool = np.sort(dataset.events(task).target[dataset.rows[task, "train"]])
    chosen: list[int] = []
    for draw in range(64 + 8 * count):
        if len(chosen) == count:
            break
        u = draw_uniform(seed, TASK_STREAM[task] + NEGATIVES, row, epoch * 2**32 + draw)[0]
        if sampling == "uniform":
            item = 1 + int(u * dataset.n_items)
        else:
            item = int(pool[int(u * len(pool))])
        if item != positive and item not in chosen and (user, item) not in taken:
            chosen.append(item)
    return chosen


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    task=st.sampled_from(["rec", "search"]),
    sampling=st.sampled_from(["popularity", "uniform"]),
    count=st.integers(0, 7),
    epoch=st.integers(0, 3),
)
def test_lists_follow_the_rule(random_log, make_dataset, seed, task, sampling, count, epoch):
    dataset = make_dataset(*random_log(seed, n_items=40), n_items=40)
    events, rows = dataset.events(task), dataset.rows[task, "train"]
    sampler = TrainingNegatives(dataset, task, sampling, seed)
    lists = sampler.draw(rows, events.user[rows], events.target[rows], epoch, count)
    assert lists.shape == (len(rows), count)
    assert lists.dtype == np.int32
    taken = _train_taken(dataset)
    for row, drawn in zip(rows.tolist(), lists.tolist(), strict=True):
        user, positive = int(events.user[row]), int(events.target[row])
        expected = _naive_list(
            dataset, task, sampling, seed, row, user, positive, epoch, count, taken
        )
        assert drawn[: len(expected)] == expected
        assert positive not in drawn
        assert all(1 <= item <= 40 for item in drawn)


def test_a_row_does_not_depend_on_its_batch(random_log, make_dataset):
    dataset = make_dataset(*random_log(3))
    rows = dataset.rows["rec", "train"]
    user, item = dataset.rec.user, dataset.rec.item
    sampler = TrainingNegatives(dataset, "rec", "popularity", 0)
    together = sampler.draw(rows, user[rows], item[rows], 2, 4)
    alone = [sampler.draw(rows[i : i + 1], user[rows[i : i + 1]], item[rows[i : i + 1]], 2, 4)[0]
             for i in range(len(rows))]  # fmt: skip
    np.testing.assert_array_equal(together, alone)
    other_epoch = sampler.draw(rows, user[rows], item[rows], 3, 4)
    assert (together != other_epoch).any()


def test_what_is_taken_after_the_cut_may_be_drawn(rec_events, search_events, make_dataset):
    # User 1 takes item 1 in train and item 2 in test; the catalogue is {1, 2, 3}.
    rec = rec_events([(1, 1, 0, 1, 1), (1, 2, 0, 2, 1), (2, 1, 0, 3, 1), (2, 2, 0, 2, 1)])
    dataset = make_dataset(
        rec, search_events([]), rows={("rec", "train"): np.array([0, 2, 3]),
                                      ("rec", "test"): np.array([1])}
    )  # fmt: skip
    sampler = TrainingNegatives(dataset, "rec", "uniform", 0)
    drawn = sampler.draw(np.array([0]), rec.user[:1], rec.item[:1], 0, 2)
    assert sorted(drawn[0].tolist()) == [2, 3]


def test_popularity_counts_train_rows_of_the_task_only(rec_events, search_events, make_dataset):
    # Users 2.. took items 1 (x3) and 2 (x1) in train; item 3 only in search; item 4 in test.
    rec = rec_events([(1, 1, 0, 5, 1), *[(u, 1, 0, 1, 1) for u in (2, 3, 4)], (5, 1, 0, 2, 1),
                      (6, 1, 0, 4, 1)])  # fmt: skip
    search = search_events([(7, 1, 0, 1, (3,))])
    train = {("rec", "train"): np.arange(5), ("rec", "test"): np.array([5])}
    sampler = TrainingNegatives(make_dataset(rec, search, rows=train), "rec", "popularity", 0)
    n = 4_000
    rows = np.arange(n)  # any row numbers: a row only picks the draws
    drawn = sampler.draw(rows, np.full(n, 1, np.int32), np.full(n, 5, np.int32), 0, 1)[:, 0]
    # Four draws in five hit items 1 or 2 (5 is the positive), three of these four item 1.
    share = np.bincount(drawn, minlength=6) / n
    assert share[[3, 4, 5]].tolist() == [0, 0, 0]
    # 4000 draws: one standard deviation is 0.007.
    assert abs(share[1] - 0.75) < 0.03


def test_a_user_who_took_everything_still_gets_a_list(rec_events, search_events, make_dataset):
    rec = rec_events([(1, t, 0, item, 1) for t, item in enumerate([1, 2, 3])])
    sampler = TrainingNegatives(make_dataset(rec, search_events([])), "rec", "popularity", 0)
    drawn = sampler.draw(np.arange(3), rec.user, rec.item, 0, 8)
    assert drawn.min() >= 1
    assert drawn.max() <= 3
    assert not (drawn == rec.item[:, None]).any()


def test_rare_items_are_found_by_uniform_draws(rec_events, search_events, make_dataset):
    # The pool holds only what user 1 took; items 3 and 4 can come from uniform draws alone.
    rec = rec_events([(1, 1, 0, 1, 1), (1, 2, 0, 2, 1)])
    dataset = make_dataset(rec, search_events([]), n_items=4)
    sampler = TrainingNegatives(dataset, "rec", "popularity", 0)
    drawn = sampler.draw(np.array([0]), rec.user[:1], rec.item[:1], 0, 2)
    assert sorted(drawn[0].tolist()) == [3, 4]


def test_all_clicks_of_train_searches_count_as_taken(rec_events, search_events, make_dataset):
    search = search_events([(1, 1, 0, 1, (4, 2)), (1, 2, 0, 1, ()), (2, 1, 0, 1, (3,))])
    users, items = train_items(make_dataset(rec_events([(2, 5, 0, 1, 1)]), search))
    assert sorted(zip(users.tolist(), items.tolist(), strict=True)) == [
        (1, 2), (1, 4), (2, 1), (2, 3)]  # fmt: skip
    entry, items = row_items(search, np.array([1, 0]))
    assert (entry.tolist(), items.tolist()) == ([1, 1], [4, 2])


@PROPERTY
@given(keys=st.lists(st.integers(0, 2**62), max_size=50), others=st.lists(st.integers(0, 60)))
def test_key_set_equals_a_set(keys, others):
    keys = keys + [key % 61 for key in keys]
    asked = np.array(keys + others, np.int64).reshape(-1, 1)
    held = KeySet(np.array(keys, np.int64)).holds(asked)
    assert held[:, 0].tolist() == [key in set(keys) for key in keys + others]


def test_bad_settings_are_refused(rec_events, search_events, make_dataset):
    dataset = make_dataset(rec_events([(1, 1, 0, 1, 1)]), search_events([]))
    with pytest.raises(InputError, match="negative_sampling 'hard': unknown"):
        TrainingNegatives(dataset, "rec", "hard", 0)
    with pytest.raises(InputError, match=r"items\.parquet: 1 item"):
        TrainingNegatives(dataset, "rec", "uniform", 0)
