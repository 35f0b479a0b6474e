"""The synthetic data: its shape, what is planted in it, and that nothing gives it away."""

import hashlib

import numpy as np
import pytest

from common.data.candidates import (
    count_items,
    draw_popularity_lists,
    draw_uniform_lists,
    ever_items,
)
from common.data.events import RecEvents
from common.data.loading import make_search_events
from common.data.readers.synthetic import PRESETS, generate
from common.data.readers.synthetic_world import Uniforms, make_words
from common.data.schema import TABLES, table_sha256
from common.data.splits import make_split
from common.errors import InputError

DAY = 86_400_000  # ms


def columns(table):
    """A table as a dict: numpy columns, lists as Python lists."""
    return {
        name: (
            table[name].to_pylist()
            if "list" in str(table[name].type) or "string" in str(table[name].type)
            else table[name].to_numpy()
        )
        for name in table.column_names
    }


def read_events(tables):
    """The event tables as arrays."""
    rec = columns(tables.rec)
    return (
        RecEvents(rec["user"], rec["ts_ms"], rec["seq"], rec["item"], rec["label"]),
        make_search_events(tables.search),
    )


def order_key(user, ts):
    """One number that sorts by user, then by time."""
    return user.astype(np.int64) * 10**13 + ts


@pytest.fixture(scope="module")
def tiny():
    return generate("tiny")


@pytest.fixture(scope="module")
def demo():
    tables = generate("demo")
    return tables, *read_events(tables)


def hash_tables(tables):
    every = [tables.table(name) for name in TABLES]
    every += [tables.truth[name] for name in sorted(tables.truth)]
    return hashlib.sha256("".join(map(table_sha256, every)).encode()).hexdigest()


def test_the_seed_decides_everything(tiny):
    assert hash_tables(tiny) == hash_tables(generate("tiny", seed=0))
    assert hash_tables(tiny) != hash_tables(generate("tiny", seed=1))


def test_the_data_of_seed_0_stay_the_same(tiny):
    """A new hash means that published synthetic numbers no longer hold: raise VERSION then."""
    assert tiny.meta["version"] == "2"
    assert hash_tables(tiny).startswith("58d2b91ad4502d82")


def test_sizes_of_demo(demo):
    tables, rec, search = demo
    assert (tables.users.num_rows, tables.items.num_rows) == (2_000, 1_000)
    assert rec.positive.sum() == pytest.approx(58_200, rel=0.03)
    assert len(rec.user) == pytest.approx(1.5 * rec.positive.sum(), rel=0.01)
    assert len(search.user) == pytest.approx(21_700, rel=0.03)
    assert (~search.positive).mean() == pytest.approx(0.27, abs=0.03)
    assert len(np.unique(search.user)) / 2_000 == pytest.approx(0.9, abs=0.03)
    assert np.bincount(rec.user[rec.positive])[1:].max() <= 60
    shown = [len(s) for s in tables.search["shown"].to_pylist()]
    assert max(shown) == 8
    assert np.mean(shown) > 7.9


def test_split_of_demo_is_near_the_reference(demo):
    _, rec, search = demo
    info = make_split("leave_one_out_joint", rec, search, "time").info
    assert info["counts"]["rec"]["test"] == 2_000
    assert info["counts"]["search"]["test"] == pytest.approx(1_516, rel=0.03)
    assert info["unused"] / info["positives"] == pytest.approx(0.079, abs=0.01)


def test_sizes_of_tiny(tiny):
    rec, search = read_events(tiny)
    assert rec.positive.sum() == pytest.approx(680, abs=60)
    assert len(search.user) == pytest.approx(280, abs=40)
    assert tiny.meta["negatives"] == 19


@pytest.mark.parametrize(
    "options",
    [{}, {"tie_batches": 3}, {"resolution": "day"}, {"repeat_rate": 1.0}, {"noise": "user"}],
)
def test_tables_are_canonical(options):
    tables = generate("tiny", **options)
    rec, search = columns(tables.rec), columns(tables.search)
    for table in (rec, search):
        order = np.lexsort((table["seq"], table["ts_ms"], table["user"]))
        np.testing.assert_array_equal(order, np.arange(len(order)))
    events = sorted(
        (int(u), int(t), int(s))
        for table in (rec, search)
        for u, t, s in zip(table["user"], table["ts_ms"], table["seq"], strict=True)
    )
    assert len(set(events)) == len(events)
    for before, (user, ts, seq) in zip([(0, 0, 0), *events], events, strict=False):
        assert seq == (before[2] + 1 if before[:2] == (user, ts) else 0)
    for shown, kind, clicks, clicked in zip(
        search["shown"], search["shown_kind"], search["clicks"], search["clicked"], strict=True
    ):
        assert len(shown) == len(kind) == len(clicks) == len(set(shown))
        assert [item for item, n in zip(shown, clicks, strict=True) if n] == clicked
    for name, table in (("user", tables.users), ("item", tables.items), ("query", tables.queries)):
        assert table[name].to_pylist() == list(range(1, table.num_rows + 1))
        key = "text" if name == "query" else "raw_id"
        assert table[key].to_pylist() == sorted(set(table[key].to_pylist()))
    assert max(search["query"]) == tables.queries.num_rows
    assert len(set(search["query"])) == tables.queries.num_rows


def test_nobody_takes_an_item_twice(demo):
    _, rec, search = demo
    ever = ever_items(rec, search, 2_000)
    assert len(ever.item) == rec.positive.sum() + len(search.click_item)
    # So whether a candidate is in the user's history tells nothing: HR@10 is exactly 10 / 100.
    rows = np.flatnonzero(rec.positive)[-200:]
    lists = draw_uniform_lists("rec", rows, rec.item[rows], rec.user[rows], ever, 1_000, 0)
    for row, items in zip(rows, lists, strict=True):
        others = set(ever.of(rec.user[row])) - {rec.item[row]}
        assert not others & set(items.tolist())


def test_repeats_can_be_switched_on():
    rec, search = read_events(generate("tiny", repeat_rate=1.0))
    assert len(ever_items(rec, search, 64).item) < rec.positive.sum() + len(search.click_item)


def test_the_truth_is_what_the_log_shows(demo):
    tables, rec, search = demo
    truth, clicks = columns(tables.truth["search"]), columns(tables.truth["rec"])
    np.testing.assert_array_equal(truth["row"], np.arange(len(search.user)))
    np.testing.assert_array_equal(clicks["row"], np.flatnonzero(rec.positive))
    topic_of = columns(tables.truth["items"])["topic"]
    np.testing.assert_array_equal(clicks["item_topic"], topic_of[rec.item[clicks["row"]] - 1])
    on = clicks["on_intent"] == 1
    np.testing.assert_array_equal(clicks["item_topic"][on], clicks["intent"][on])
    assert on.mean() == pytest.approx(0.9, abs=0.01)

    intent = np.zeros(len(rec.user), int)
    intent[clicks["row"]] = clicks["intent"]
    anchored = truth["for_row"] >= 0
    rows = truth["for_row"][anchored]
    assert (truth["useful"][anchored] == 1).all()
    np.testing.assert_array_equal(intent[rows], truth["topic"][anchored])
    np.testing.assert_array_equal(rec.user[rows], search.user[anchored])
    wait = rec.ts[rows] - search.ts[anchored]
    now = truth["lag"][anchored] == 0
    assert wait[now].min() >= 10_000
    assert wait[now].max() <= 30 * 60_000
    assert wait[~now].min() >= 40 * 60_000
    # Clicks beyond the end of a user, or dropped as repeats, leave useful searches without a row.
    lost = (truth["useful"] == 1) & ~anchored
    assert 0 < lost.mean() < 0.05
    assert set(np.unique(truth["lag"][truth["useful"] == 0])) == {-1}

    owner = np.repeat(np.arange(len(search.user)), np.diff(search.click_off))
    np.testing.assert_array_equal(topic_of[search.click_item - 1], truth["topic"][owner])


def test_an_intent_ends_with_another_topic(demo):
    clicks = columns(demo[0].truth["rec"])
    user = demo[1].user[clicks["row"]]
    same_user = user[1:] == user[:-1]
    step = np.diff(clicks["segment"])[same_user]
    change = clicks["intent"][1:][same_user] != clicks["intent"][:-1][same_user]
    assert change[step == 1].all()
    assert not change[step == 0].any()
    assert clicks["new_intent"].mean() == pytest.approx(0.35 + 0.65 / 29.5, abs=0.02)


def test_usefulness_shows_in_the_topic_only(demo):
    tables, rec, search = demo
    truth = columns(tables.truth["search"])
    useful = truth["useful"] == 1
    assert useful.mean() == pytest.approx(0.5, abs=0.015)
    empty = ~search.positive
    assert abs(empty[useful].mean() - empty[~useful].mean()) <= 0.06
    words = np.array([len(tok) for tok in tables.queries["tok"].to_pylist()])[search.query - 1]
    assert words[useful].mean() == pytest.approx(words[~useful].mean(), abs=0.05)
    clicks = np.flatnonzero(rec.positive)
    key = order_key(rec.user[clicks], rec.ts[clicks])
    place = np.searchsorted(key, order_key(search.user, search.ts))
    place = np.minimum(place, len(clicks) - 1)
    wait = rec.ts[clicks[place]] - search.ts
    near = (rec.user[clicks[place]] == search.user) & (wait < 30 * 60_000)
    assert near.mean() > 0.97
    assert wait[near & useful].mean() == pytest.approx(wait[near & ~useful].mean(), rel=0.03)


def test_noise_is_about_no_click_that_follows(demo):
    tables, rec, search = demo
    truth, clicks = columns(tables.truth["search"]), columns(tables.truth["rec"])
    key = order_key(rec.user[clicks["row"]], rec.ts[clicks["row"]])
    noise = np.flatnonzero(truth["useful"] == 0)
    place = np.searchsorted(key, order_key(search.user[noise], search.ts[noise]))
    keep = place < len(key)
    noise, place = noise[keep], place[keep]
    wait = rec.ts[clicks["row"]][place] - search.ts[noise]
    next_is_shown = (rec.user[clicks["row"]][place] == search.user[noise]) & (wait < 30 * 60_000)
    wrong = clicks["intent"][place] == truth["topic"][noise]
    assert not wrong[next_is_shown].any()


def score_demo(tables, rec, search):
    """What simple rules know about each user's last click, and HR@10 of the rules."""
    split = make_split("leave_one_out_per_task", rec, search, "time")
    rows, user = split.rows["rec", "test"], rec.user[split.rows["rec", "test"]]
    truth, clicks = columns(tables.truth["search"]), columns(tables.truth["rec"])
    topic_of = np.concatenate([[0], columns(tables.truth["items"])["topic"]])
    place = np.searchsorted(clicks["row"], rows)
    intent, last_row = clicks["intent"][place], clicks["row"][place - 1]
    last = clicks["item_topic"][place - 1]
    key = order_key(search.user, search.ts)
    newest = np.searchsorted(key, order_key(user, rec.ts[rows])) - 1
    fresh = (search.user[newest] == user) & (search.ts[newest] > rec.ts[last_row])
    searched, useful = truth["topic"][newest], truth["useful"][newest] == 1
    first = np.searchsorted(rec.user[clicks["row"]], user)
    profile = np.array(
        [np.bincount(clicks["item_topic"][a:b]).argmax() for a, b in zip(first, place, strict=True)]
    )
    trusted, misled = fresh & useful, fresh & ~useful
    result = {
        "last": (last == intent).mean(),
        "profile": (profile == intent).mean(),
        "useful: search": (searched == intent)[trusted].sum() / max(trusted.sum(), 1),
        "useful: last": (last == intent)[trusted].sum() / max(trusted.sum(), 1),
        "noise: search": (searched == intent)[misled].sum() / max(misled.sum(), 1),
        "noise: last": (last == intent)[misled].sum() / max(misled.sum(), 1),
    }
    ever = ever_items(rec, search, len(tables.users))
    counts = count_items(rec.item[split.rows["rec", "train"]], len(tables.items))
    arguments = ("rec", rows, rec.item[rows], user, ever)
    for kind, lists in (
        ("uniform", draw_uniform_lists(*arguments, len(tables.items), 0)),
        ("popularity", draw_popularity_lists(*arguments, counts, 0)),
    ):
        for name, topic in (
            ("popularity", np.full(len(rows), -1)),
            ("last", last),
            ("fresh", np.where(fresh, searched, last)),
            ("useful", np.where(fresh & useful, searched, last)),
            ("intent", intent),
        ):
            score = counts[lists] + 10**6 * (topic_of[lists] == topic[:, None])
            above = (score[:, 1:] > score[:, :1]).sum(axis=1)
            ties = (score[:, 1:] == score[:, :1]).sum(axis=1)
            hits = np.clip((10 - above) / (ties + 1), 0, 1)
            result[f"{kind}: {name}"] = hits.mean()
    return result


def test_the_planted_signal_matters(demo):
    found = score_demo(*demo)
    expected = {
        "last": 0.59,
        "profile": 0.26,
        "useful: search": 0.84,
        "useful: last": 0.43,
        "noise: search": 0.00,
        "noise: last": 0.45,
        "uniform: popularity": 0.32,
        "uniform: last": 0.63,
        "uniform: fresh": 0.62,
        "uniform: useful": 0.68,
        "uniform: intent": 0.92,
        "popularity: last": 0.55,
        "popularity: fresh": 0.54,
        "popularity: useful": 0.62,
        "popularity: intent": 0.91,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=0.03)
    # Lists that are drawn by popularity leave popularity near chance (0.10).
    assert found["popularity: popularity"] == pytest.approx(0.12, abs=0.03)


@pytest.mark.parametrize(("share", "fresh", "last"), [(0.0, 0.51, 0.63), (1.0, 0.74, 0.63)])
def test_trusting_searches_pays_only_where_they_are_useful(share, fresh, last):
    tables = generate("demo", useful_share=share)
    truth = columns(tables.truth["search"])
    assert truth["useful"].mean() == pytest.approx(share, abs=0.015)
    rec, search = read_events(tables)
    found = score_demo(tables, rec, search)
    assert found["uniform: fresh"] == pytest.approx(fresh, abs=0.03)
    assert found["uniform: last"] == pytest.approx(last, abs=0.03)


def test_hard_noise_comes_from_the_users_own_topics():
    tables = generate("tiny", noise="user")
    truth, search = columns(tables.truth["search"]), columns(tables.search)
    topics = tables.truth["users"]["topics"].to_pylist()
    noise = np.flatnonzero(truth["useful"] == 0)
    own = [truth["topic"][i] in topics[search["user"][i] - 1] for i in noise]
    assert np.mean(own) > 0.9  # the rest: all the user's topics are about to be clicked


def test_batches_share_a_time_and_stay_behind_their_searches():
    tables = generate("tiny", tie_batches=3, exposures=0.0)
    rec, search = read_events(tables)
    _, sizes = np.unique(np.stack([rec.user, rec.ts]), axis=1, return_counts=True)
    assert sizes.max() == 3
    truth = columns(tables.truth["search"])
    anchored = truth["for_row"] >= 0
    assert (search.ts[anchored] < rec.ts[truth["for_row"][anchored]]).all()


def test_days_are_floored():
    rec, search = read_events(generate("tiny", resolution="day"))
    assert not (rec.ts % DAY).any()
    assert not (search.ts % DAY).any()
    assert rec.seq.max() > 1


def test_words_and_categories(tiny):
    words = tiny.tokens["word"].to_pylist()
    assert words == sorted(set(words))
    assert all(word.isalpha() and word.islower() for word in words)
    for table, text, tok in ((tiny.items, "title", "text_tok"), (tiny.queries, "text", "tok")):
        for line, tokens in zip(table[text].to_pylist(), table[tok].to_pylist(), strict=True):
            assert line.split() == [words[token - 1] for token in tokens]
    lengths = [len(title.split()) for title in tiny.items["title"].to_pylist()]
    assert min(lengths) >= 4
    assert max(lengths) <= 9
    paths = tiny.items["cat_path"].to_pylist()
    for level in (1, 2, 3):
        names = sorted({path[level - 1] for path in paths})
        ids = tiny.items[f"cat_{level}"].to_pylist()
        assert [names.index(path[level - 1]) + 1 for path in paths] == ids
    assert len({path[2] for path in paths}) == 6  # no topic is empty
    assert len({path[1] for path in paths}) == 2


def test_data_without_text_have_tokens_only():
    tables = generate("tiny", text=False)
    assert tables.items["title"].null_count == 120
    assert tables.queries["text"].null_count == tables.queries.num_rows
    assert all(tables.queries["tok"].to_pylist())
    words = tables.tokens["word"].to_pylist()
    assert words == sorted(words)
    assert all(word.isdigit() for word in words)


def test_new_items_appear_within_the_span(tiny):
    rec, search = columns(tiny.rec), columns(tiny.search)
    created = np.concatenate([[0], columns(tiny.items)["created_ms"]])
    start = min(rec["ts_ms"].min(), search["ts_ms"].min())
    assert (created[rec["item"]] <= rec["ts_ms"]).all()
    for ts, shown in zip(search["ts_ms"], search["shown"], strict=True):
        assert (created[shown] <= ts).all()
    assert 0 < (created[1:] >= start).mean() < 0.2


def test_parameters_are_recorded(tiny):
    assert tiny.meta["truth_params"]["seed"] == 0
    assert tiny.meta["truth_params"]["drift"] == 0.35
    assert tiny.meta["name"] == "tiny"
    assert set(PRESETS) == {"tiny", "demo", "kuaisar_scale"}


@pytest.mark.parametrize(
    ("preset", "options", "words"),
    [
        ("huge", {}, "tiny, demo, kuaisar_scale"),
        ("tiny", {"topic": 3}, "option topic: no such option"),
        ("tiny", {"noise": "none"}, "noise"),
        ("tiny", {"topics": 2}, "topics must be more than horizon"),
        ("tiny", {"items": 3}, "every topic needs an item"),
    ],
)
def test_bad_options_are_named(preset, options, words):
    with pytest.raises(InputError, match=words):
        generate(preset, **options)


def test_words_are_different_and_run_out_loudly():
    assert len(set(make_words(20_000, Uniforms(0, 0)))) == 20_000
    with pytest.raises(ValueError, match="words can be made"):
        make_words(10**6, Uniforms(0, 0))
