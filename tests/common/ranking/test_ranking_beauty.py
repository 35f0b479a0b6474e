"""Amazon Beauty 2014: the sanity baselines reproduce published reference values to five digits."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from common.data.candidates import (
    count_items,
    draw_popularity_lists,
    draw_uniform_lists,
    ever_items,
)
from common.data.dataset import CandidateList, Dataset
from common.data.events import RecEvents, make_searches
from common.data.hashing import array_sha256
from common.data.splits import make_split
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import tie_rate
from common.ranking.rows import choose_rows
from common.ranking.sanity import count_train, rank_baselines

REVIEWS = (
    Path(__file__).resolve().parents[4] / "shared/data/amazon_beauty_2014/reviews_Beauty_5.json.gz"
)
pytestmark = pytest.mark.skipif(not REVIEWS.exists(), reason="Amazon Beauty 2014 is not here")

# metric -> popularity under uniform99, popularity99, full (history left out)
POPULARITY = {
    "HR@1": (0.04656, 0.00559, 0.00046),
    "HR@5": (0.16802, 0.02562, 0.00645),
    "HR@10": (0.29139, 0.05046, 0.01003),
    "HR@20": (0.44398, 0.09573, 0.01639),
    "HR@50": (0.67151, 0.35253, 0.03066),
    "NDCG@5": (0.10697, 0.01540, 0.00339),
    "NDCG@10": (0.14655, 0.02341, 0.00452),
    "NDCG@20": (0.18506, 0.03463, 0.00614),
    "MRR": (0.12526, 0.03406, 0.00477),
}


def read_events():
    """Purchases as a source would give them: ids by sorted raw id, rows by user, time, file."""
    with gzip.open(REVIEWS, "rt") as file:
        lines = [json.loads(line) for line in file]
    users, user = np.unique([line["reviewerID"] for line in lines], return_inverse=True)
    items, item = np.unique([line["asin"] for line in lines], return_inverse=True)
    ts = np.array([line["unixReviewTime"] for line in lines]) * 1000
    order = np.lexsort((np.arange(len(ts)), ts, user))
    user, item, ts = user[order] + 1, item[order] + 1, ts[order]
    new = np.r_[True, (user[1:] != user[:-1]) | (ts[1:] != ts[:-1])]
    start = np.maximum.accumulate(np.where(new, np.arange(len(ts)), 0))
    seq = np.arange(len(ts)) - start
    rec = RecEvents(
        np.int32(user), np.int64(ts), np.int32(seq), np.int32(item), np.ones(len(ts), np.uint8)
    )
    none = np.zeros(0, np.int32)
    search = make_searches(none, np.zeros(0, np.int64), none, none, np.zeros(1, np.int64), none)
    return rec, search, len(users), len(items)


@pytest.fixture(scope="module")
def beauty():
    rec, search, n_users, n_items = read_events()
    rows = make_split("leave_one_out_joint", rec, search, "time").rows
    test = rows["rec", "test"]
    ever = ever_items(rec, search, n_users)
    of_test = (test, rec.item[test], rec.user[test], ever)
    counts = count_items(rec.item[rows["rec", "train"]], n_items)
    lists = {
        "uniform99": draw_uniform_lists("rec", *of_test, n_items, seed=0),
        "popularity99": draw_popularity_lists("rec", *of_test, counts, seed=0),
    }
    stored = {name: CandidateList(items, array_sha256(items)) for name, items in lists.items()}
    zeros = np.zeros((1, 1), np.int32)
    dataset = Dataset(
        path=Path("beauty"),
        manifest={"name": "beauty", "sha256": "0" * 64},
        split="leave_one_out_joint",
        history_order="time",
        n_users=n_users,
        n_items=n_items,
        n_queries=0,
        n_tokens=0,
        rec=rec,
        search=search,
        rows=rows,
        query_tokens=zeros,
        item_categories=zeros,
        load_lists=lambda task, part: stored,
    )
    ranked = choose_rows(dataset, "rec", "test", min_history=1)
    return dataset, ranked, rank_baselines(dataset, "rec", ranked)


def test_lists_are_the_reference_lists(beauty):
    _, ranked, _ = beauty
    assert ranked.rows.shape == (17_452,)
    assert ranked.lists["uniform99"].sha256.startswith("461f872fbb70fb06")
    assert ranked.lists["popularity99"].sha256.startswith("bac91ff0df86b9c0")


def test_popularity_has_the_reference_values(beauty):
    dataset, _, baselines = beauty
    assert count_train(dataset, "rec").sum() == 142_628
    for column, protocol in enumerate(("uniform99", "popularity99", "full")):
        table = baselines["popularity"]["rec", protocol]
        metrics = metrics_from_ranks(table.rank_low, table.rank_high)
        got = {name: round(float(values.mean()), 5) for name, values in metrics.items()}
        assert got == {name: values[column] for name, values in POPULARITY.items()}, protocol
    for protocol, tied in (("uniform99", 0.656), ("popularity99", 0.702)):
        table = baselines["popularity"]["rec", protocol]
        assert round(tie_rate({("rec", protocol): table}), 3) == tied


def test_in_history_is_at_chance_because_nobody_buys_twice(beauty):
    _, _, baselines = beauty
    for protocol in ("uniform99", "popularity99"):
        table = baselines["in_history"]["rec", protocol]
        metrics = metrics_from_ranks(table.rank_low, table.rank_high)
        assert metrics["HR@10"].mean() == pytest.approx(0.1, abs=1e-12), protocol


def test_random_is_at_chance_and_last_item_beats_popularity(beauty):
    _, _, baselines = beauty
    table = baselines["random"]["rec", "uniform99"]
    hits = metrics_from_ranks(table.rank_low, table.rank_high)["HR@10"]
    # four standard errors of a share of 0.1 over 17,452 rows
    assert abs(hits.mean() - 0.1) < 4 * np.sqrt(0.09 / 17_452)
    table = baselines["random"]["rec", "full"]
    rank = (table.rank_low + table.rank_high) / 2
    assert abs(rank.mean() / 12_101 - 0.5) < 0.01
    for protocol in ("uniform99", "popularity99", "full"):
        gain = {}
        for name in ("popularity", "last_item"):
            table = baselines[name]["rec", protocol]
            gain[name] = metrics_from_ranks(table.rank_low, table.rank_high)["NDCG@10"].mean()
        assert gain["last_item"] > gain["popularity"], protocol
