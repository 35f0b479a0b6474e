"""Slices: their classes by a loop over the tables, their intervals, and the file they come from."""

import dataclasses

import numpy as np
import pytest

from common.ranking.intervals import MIN_USERS, bca_intervals, slice_intervals
from common.ranking.metrics import metrics_from_ranks
from common.ranking.protocols import evaluate
from common.ranking.ranks import rank_table, read_ranks, write_ranks
from common.ranking.seen import MAX_REPEATS, choose_filter, find_repeats
from common.ranking.slices import SLICE_METRICS, mark_slices, slice_ranks, split_popularity


def classify(dataset, task, row):
    """The classes of one row, straight from the event tables."""
    rec, search, events = dataset.rec, dataset.search, dataset.events(task)
    item, user, now = events.target[row], events.user[row], events.ts[row]

    def clicks(index):
        return search.click_item[search.click_off[index] : search.click_off[index + 1]].tolist()

    past = np.flatnonzero((search.user == user) & (search.ts < now))
    bought = item in rec.item[(rec.user == user) & (rec.ts < now) & rec.positive]
    clicked = any(item in clicks(index) for index in past)
    trained = rec.item[dataset.rows["rec", "train"]].tolist()
    for index in dataset.rows["search", "train"]:
        trained += clicks(index)
    found = {
        "target": {"new"} if not (bought or clicked) else {"repeat"},
        "item": {"warm" if item in trained else "cold"},
        "user": {"with_searches" if len(past) else "without_searches"},
    }
    if bought or clicked:
        found["target"].add("bought_before" if bought else "clicked_before")
    if task == "search":
        queries = search.query[dataset.rows["search", "train"]]
        found["query"] = {"seen" if search.query[row] in queries else "unseen"}
    return found


@pytest.mark.parametrize("task", ["rec", "search"])
@pytest.mark.parametrize("part", ["valid", "test"])
def test_classes_are_those_of_a_loop_over_the_tables(dot, task, part):
    dataset = dot.dataset(seed=3)
    # Few training rows of search, so that some queries and items are in none.
    rows = {**dataset.rows, ("search", "train"): dataset.rows["search", "train"][:4]}
    rows["rec", "train"] = rows["rec", "train"][:60]
    dataset = dataclasses.replace(dataset, rows=rows)
    masks = mark_slices(dataset, task, rows[task, part])
    reached = set()
    for index, row in enumerate(rows[task, part]):
        for name, labels in classify(dataset, task, row).items():
            assert {label for label, mask in masks[name].items() if mask[index]} == labels, name
            reached |= {(name, label) for label in labels}
    everything = {(name, label) for name, part in masks.items() for label in part}
    missing = {pair for pair in everything - reached if pair[0] != "popularity"}
    assert missing <= {("user", "without_searches")}  # the test must have tried the others
    thirds = sum(mask.astype(int) for mask in masks["popularity"].values())
    np.testing.assert_array_equal(thirds == 1, masks["item"]["warm"])


def test_popularity_thirds_by_hand():
    # 12 events. Item 1 has 5 of them, items 2 and 3 have 3 each, 4 has one, 5 none.
    # Above them: 0; 5 = 5/12; 5; 11 = 11/12; 12.
    assert split_popularity(np.array([0, 5, 3, 3, 1, 0]))[1:5].tolist() == [0, 1, 1, 2]
    # Equal counts stay together; one item with nearly all events is the head.
    assert split_popularity(np.array([0, 2, 2, 2]))[1:].tolist() == [0, 0, 0]
    assert split_popularity(np.array([0, 98, 1, 1]))[1:].tolist() == [0, 2, 2]
    assert split_popularity(np.zeros(3, np.int64)).tolist() == [0, 0, 0]


def test_slices_come_from_the_ranks_file_and_add_up(dataset, dot, tmp_path):
    rng, ranks = np.random.default_rng(0), {}
    for task in ("rec", "search"):  # all events: several rows per user, and enough users
        rows = np.flatnonzero(dataset.events(task).positive)
        for protocol in ("full", "uniform12"):
            better, equal = rng.integers(0, 30, len(rows)), rng.integers(0, 3, len(rows))
            table = rank_table(rows, dataset.events(task).user[rows], better, equal)
            ranks[task, protocol] = table
    sliced = slice_ranks(dataset, ranks, resamples=200)
    write_ranks(tmp_path / "ranks.parquet", ranks)
    again = read_ranks(tmp_path / "ranks.parquet")
    assert slice_ranks(dataset, again, resamples=200) == sliced
    for task in ("rec", "search"):
        table, total = ranks[task, "full"], len(ranks[task, "full"].row)
        values = metrics_from_ranks(table.rank_low, table.rank_high)
        masks = mark_slices(dataset, task, table.row)
        for name, parts in sliced[task].items():
            for label, entry in parts.items():
                mask = masks[name][label]
                assert entry["n"] == mask.sum()
                assert entry["users"] == len(set(table.user[mask].tolist()))
                assert ("protocols" in entry) == (entry["users"] >= MIN_USERS)
                for metric, bounds in entry.get("protocols", {}).get("full", {}).items():
                    assert bounds["value"] == pytest.approx(values[metric][mask].mean())
                    assert bounds["low"] <= bounds["value"] <= bounds["high"]
        target = sliced[task]["target"]
        assert target["new"]["n"] + target["repeat"]["n"] == total
        kinds = target["bought_before"]["n"] + target["clicked_before"]["n"]
        assert kinds == target["repeat"]["n"]
    figures = sliced["rec"]["target"]["new"]["protocols"]
    assert set(figures) == {"full", "uniform12"}
    assert all(tuple(metrics) == SLICE_METRICS for metrics in figures.values())


def test_protocols_of_other_rows_are_no_slices(dataset, dot):
    ranks = dict(evaluate(dot.task(), dot.params(), {}, dataset).ranks)
    ranks["rec", "full"] = ranks["rec", "full"]._replace(row=ranks["rec", "full"].row + 1)
    with pytest.raises(ValueError, match="the protocols of rec rank different rows"):
        slice_ranks(dataset, ranks)


def test_the_slice_of_all_rows_has_the_interval_of_the_whole():
    rng = np.random.default_rng(0)
    users, values = np.repeat(np.arange(80), 3), rng.random((240, 2)) ** 3
    whole = bca_intervals(users, values, resamples=400)
    got = slice_intervals(users, values, np.ones((240, 1), bool), resamples=400)
    for ours, theirs in zip(got, whole, strict=True):
        np.testing.assert_allclose(ours[0], theirs, rtol=1e-9)


def test_the_interval_of_a_slice_is_nearly_that_of_its_rows_alone():
    """Only the draws differ: 20,000 of them leave a tenth of the width between the two."""
    rng = np.random.default_rng(1)
    users, values = np.repeat(np.arange(300), 2), rng.random((600, 1)) ** 3
    mask = rng.random(600) < 0.4
    masks = np.stack([mask, ~mask], axis=1)
    got = slice_intervals(users, values, masks, resamples=20_000)
    for place, part in enumerate(masks.T):
        alone = bca_intervals(users[part], values[part], resamples=20_000)
        width = alone.high[0] - alone.low[0]
        assert got.value[place, 0] == pytest.approx(alone.value[0])
        assert got.low[place, 0] == pytest.approx(alone.low[0], abs=width / 10)
        assert got.high[place, 0] == pytest.approx(alone.high[0], abs=width / 10)


def test_equal_values_of_a_slice_have_no_width_and_few_users_no_interval():
    users = np.arange(100)
    values = np.where(users < 50, 0.3, users / 100)[:, None]
    got = slice_intervals(users, values, np.stack([users < 50, users >= 50], axis=1))
    assert got.low[0, 0] == got.high[0, 0] == pytest.approx(0.3)
    assert got.low[1, 0] < got.high[1, 0]
    with pytest.raises(ValueError, match="slice 1: has rows of fewer than 50 users"):
        slice_intervals(users, values, np.stack([users < 50, users < 49], axis=1))


def repeat_targets(dot, repeats):
    """Data in which this many rec test rows repeat the user's first item, and no other target of
    any kind repeats."""
    base = dot.dataset()
    rec, search = base.rec, base.search
    item = np.arange(1, len(rec.item) + 1, dtype=np.int32)
    rows = base.rows["rec", "test"]
    first = np.searchsorted(rec.user, rec.user[rows])
    some = np.flatnonzero(rec.ts[first] < rec.ts[rows])[:repeats]
    item[rows[some]] = item[first[some]]
    # Every search clicks an item that nothing else has.
    clicks = np.arange(len(search.click_item), dtype=np.int32) + len(item) + 1
    firsts = np.where(
        search.positive, clicks[np.minimum(search.click_off[:-1], len(clicks) - 1)], 0
    )
    return dataclasses.replace(
        base,
        rec=rec._replace(item=item, label=np.ones_like(rec.label)),
        search=search._replace(click_item=clicks, target=firsts.astype(np.int32)),
        n_items=len(item) + len(clicks),
    )


@pytest.mark.parametrize(("repeats", "chosen"), [(0, "history"), (1, "none"), (20, "none")])
def test_auto_filters_nothing_where_more_than_one_percent_repeat(dot, repeats, chosen):
    dataset = repeat_targets(dot, repeats)
    share = repeats / len(dataset.rows["rec", "test"])
    choice = choose_filter(dataset, "auto")
    assert choice.name == chosen
    assert choice.repeats == {"rec": share, "search": 0.0}
    if repeats:
        assert choice.reason == (
            f"auto: {share:.1%} of rec test targets stand in their own history, above 1%"
        )
    else:
        assert choice.reason == "auto: no test target stands in its own history"
    asked = choose_filter(dataset, "history")
    assert asked.name == "history"
    assert asked.reason.startswith("as asked; it favours" if repeats else "as asked; no test")
    # Validation rows, where nothing repeats, are ranked by the same choice.
    assert not find_repeats(dataset, "rec", dataset.rows["rec", "valid"]).known.any()


def test_one_percent_itself_is_not_more(dot):
    """Of 100 test rows one repeats: the filter stays; of 99 it goes."""
    dataset = repeat_targets(dot, 1)
    test = dataset.rows["rec", "test"]
    known = find_repeats(dataset, "rec", test).known
    others = np.repeat(test[~known], 3)  # 147 rows without a repeat
    for count, chosen in ((99, "history"), (98, "none")):
        rows = {**dataset.rows, ("rec", "test"): np.append(others[:count], test[known])}
        smaller = dataclasses.replace(dataset, rows=rows)
        choice = choose_filter(smaller, "auto")
        assert (choice.name, choice.repeats["rec"] > MAX_REPEATS) == (chosen, count == 98)


def test_validation_and_test_rows_share_the_choice(dataset, dot):
    for asked, chosen in (("auto", "none"), ("history", "history")):
        for part in ("valid", "test"):
            found = evaluate(dot.task(), dot.params(), {}, dataset, part=part, filter_seen=asked)
            assert found.details["filter_seen"] == chosen
            assert found.details["repeats"]["rec"] > MAX_REPEATS
            if chosen == "none":
                assert found.details["sizes"]["rec/full"] == dot.items


def test_what_is_warm_is_what_the_model_was_trained_on(dot):
    """Judged on other cuts: the train rows of the model count, not those of the other folder."""
    judged = dot.dataset(seed=3)
    few = {**judged.rows, ("search", "train"): np.zeros(0, np.int64)}
    few["rec", "train"] = judged.rows["rec", "train"][:5]
    trained = dataclasses.replace(judged, rows=few)
    rows = judged.rows["search", "test"]
    masks = mark_slices(judged, "search", rows, trained)
    warm = np.isin(judged.search.target[rows], judged.rec.item[few["rec", "train"]])
    np.testing.assert_array_equal(masks["item"]["warm"], warm)
    assert masks["query"]["unseen"].all()
    assert not mark_slices(judged, "search", rows)["query"]["unseen"].all()
