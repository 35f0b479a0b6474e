import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.dataset import CandidateList
from common.data.hashing import RANDOM_SCORE, draw_words
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import rank_table
from common.ranking.rows import choose_rows
from common.ranking.sanity import (
    BASELINES,
    find_leak,
    merge_ranks,
    place_targets,
    rank_baselines,
)
from common.ranking.seen import find_seen


def score_densely(dataset, name, task, row, seed):
    """Scores of items 0..N for one row, straight from the event tables."""
    events = dataset.events(task)
    items = np.arange(dataset.n_items + 1)
    if name == "random":
        return draw_words(seed, RANDOM_SCORE, row, items)
    train = dataset.rows[task, "train"]
    count = np.bincount(events.target[train], minlength=len(items))
    if name == "popularity":
        return count
    rec, search = dataset.rec, dataset.search

    def earlier(table, of):
        mine = (table.user == events.user[of]) & (table.ts < events.ts[of])
        return np.flatnonzero(mine & (table.positive if table is rec else True))

    if name == "last_item":

        def last(of):
            past = earlier(rec, of)
            return rec.item[past[-1]] if len(past) else 0

        mine, follow = last(row), np.zeros(len(items))
        for other in train:
            if mine and last(other) == mine:
                follow[events.target[other]] += 1
        return follow + count / (1 + count.max())
    history = set(rec.item[earlier(rec, row)].tolist())
    for index in earlier(search, row):
        history |= set(search.click_item[slice(*search.click_off[index : index + 2])].tolist())
    return np.isin(items, list(history))


@pytest.mark.parametrize("task", ["rec", "search"])
@pytest.mark.parametrize("filter_seen", ["history", "none"])
def test_baselines_are_those_of_a_dense_ranking(dataset, dot, task, filter_seen):
    ranked = choose_rows(dataset, task, "test", 1)
    got = rank_baselines(dataset, task, ranked, filter_seen=filter_seen, seed=3)
    assert tuple(got) == BASELINES
    seen = find_seen(dataset, task, ranked.rows, filter_seen)
    lists = ranked.lists["uniform12"].items
    for name in BASELINES:
        tables = got[name]
        assert set(tables) == {(task, p) for p in ("full", "uniform12", "popularity12")}
        for index, row in enumerate(ranked.rows):
            scores = score_densely(dataset, name, task, row, seed=3)
            known = seen.items[seen.offsets[index] : seen.offsets[index + 1]]
            everything = np.arange(1, dot.items + 1)
            for protocol, others in (
                ("full", np.setdiff1d(everything, [ranked.targets[index], *known])),
                ("uniform12", lists[index, 1:]),
            ):
                own = scores[ranked.targets[index]]
                low = 1 + (scores[others] > own).sum()
                high = low + (scores[others] == own).sum()
                table = tables[task, protocol]
                found = (table.rank_low[index], table.rank_high[index])
                assert found == (low, high), (name, protocol, row)


def test_the_random_data_has_what_the_test_above_needs(dataset):
    """Repeats of the target in its history, and rows without a rec history."""
    rows = dataset.rows["rec", "test"]
    ranked = choose_rows(dataset, "rec", "test", 1)
    table = rank_baselines(dataset, "rec", ranked)["in_history"]["rec", "full"]
    assert (table.rank_high == 1).any()  # the target, alone in front
    rec_end, _, rec_start, _ = dataset.timeline.ends("rec", rows)
    assert (rec_end > rec_start).any()
    assert (dataset.rec.label == 0).any()


def hits_at_ten(dataset, lists):
    stored = {"uniform99": CandidateList(lists, "x")}
    dataset = dataclasses.replace(dataset, load_lists=lambda task, part: stored)
    ranked = choose_rows(dataset, "rec", "test", 1)
    table = rank_baselines(dataset, "rec", ranked, full=False)["in_history"]
    return metrics_from_ranks(*table["rec", "uniform99"][2:])["HR@10"].mean()


def test_in_history_is_at_chance_on_clean_data_and_finds_a_leak(dot):
    """Clean: nobody takes an item twice. Leaky: everyone's target was taken before."""
    base = dot.dataset()
    rec, search = base.rec, base.search
    distinct = rec._replace(item=np.arange(1, len(rec.item) + 1, dtype=np.int32))
    rows = base.rows["rec", "test"]
    first = np.searchsorted(rec.user, rec.user[rows])
    leaky_items = distinct.item.copy()
    leaky_items[rows] = leaky_items[first]
    quiet = search._replace(
        click_off=np.zeros_like(search.click_off),
        click_item=np.zeros(0, np.int32),
        click_ts=np.zeros(0, np.int64),
    )
    for items, expected in ((distinct.item, 0.1), (leaky_items, 1.0)):
        events = distinct._replace(item=items, label=np.ones_like(rec.label))
        lists = np.concatenate(
            [items[rows][:, None], np.tile(np.arange(2_000, 2_099), (len(rows), 1))], axis=1
        ).astype(np.int32)
        dataset = dataclasses.replace(base, rec=events, search=quiet, n_items=3_000)
        known = rec.ts[first] < rec.ts[rows]
        assert known.mean() > 0.9
        hits = hits_at_ten(dataset, lists)
        if expected == 0.1:
            assert hits == pytest.approx(0.1, abs=1e-12)
        else:
            assert hits > 0.9


def place(low, high, candidates, users=None):
    """Where rows stand in their lists on average, by `place_targets`."""
    low, high = np.array(low), np.array(high)
    users = np.arange(len(low)) if users is None else users
    table = rank_table(np.arange(len(low)), users, low - 1, high - low)
    return place_targets({("rec", "full"): table}, {"rec/full": candidates})["rec/full"]


def test_the_place_of_targets_by_hand():
    # Lists of 5: first, last and in the middle of all; 0 + 4 + 2 candidates before, of 4 each.
    assert place([1, 5, 1], [1, 5, 5], 5)["value"] == pytest.approx(0.5)
    assert place([1, 1, 1], [1, 1, 5], 5)["value"] == pytest.approx(2 / 12)
    # One other candidate is enough to tell first from last; none tells nothing.
    assert place([1, 2], [1, 2], 2)["value"] == pytest.approx(0.5)
    table = rank_table(np.arange(2), np.arange(2), np.zeros(2), np.zeros(2))
    assert place_targets({("rec", "full"): table}, {"rec/full": 1.0}) == {}


@given(
    st.lists(st.integers(0, 50), min_size=2, max_size=30).filter(any),
    st.integers(1, 3),
)
def test_a_scorer_that_knows_nothing_is_at_chance_in_lists_of_any_length(others, width):
    """Every row has its own number of candidates, all tied with the target, as the row's count."""
    others = np.array(others)
    found = place(1 + 0 * others, 1 + others, 1 + others.mean(), np.arange(len(others)) // width)
    assert found["value"] == pytest.approx(0.5)
    assert not find_leak(found)


@pytest.mark.parametrize("candidates", [2, 8, 10, 100, 12_101])
@pytest.mark.parametrize(("repeats", "leaks"), [(0, False), (10, False), (80, True), (1000, True)])
def test_the_alarm_does_not_depend_on_the_length_of_the_list(candidates, repeats, leaks):
    """Of 1,000 rows some have the target alone in front, the others tie with all candidates."""
    known = np.arange(1000) < repeats
    found = place(np.ones(1000), np.where(known, 1, candidates), candidates)
    assert found["value"] == pytest.approx(0.5 - repeats / 2000)
    assert find_leak(found) is leaks


def test_tasks_are_joined_per_baseline():
    joined = merge_ranks({"rec": {"random": {("rec", "full"): 1}}, "search": {"random": {2: 3}}})
    assert joined == {"random": {("rec", "full"): 1, 2: 3}}
