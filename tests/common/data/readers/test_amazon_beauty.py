"""The Amazon reader on the real Beauty files, where they are: known sizes, splits and orders."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from common.data.loading import make_rec_events, make_search_events
from common.data.pseudo_queries import Recipe
from common.data.readers.amazon_2014 import read_amazon
from common.data.schema import TABLES, SourceTables, conform_table
from common.data.splits import make_split

BEAUTY = Path(__file__).resolve().parents[4] / "../shared/data/amazon_beauty_2014"


@pytest.fixture(scope="module")
def beauty() -> SourceTables:
    if not BEAUTY.is_dir():
        pytest.skip("the Beauty files are not here")
    return read_amazon(BEAUTY)


def test_beauty_has_the_known_sizes(beauty: SourceTables):
    user, item, ts = (beauty.rec[name].to_numpy() for name in ("user", "item", "ts_ms"))
    assert (beauty.users.num_rows, beauty.items.num_rows, len(user)) == (22_363, 12_101, 198_502)
    per_user, per_item = np.bincount(user)[1:], np.bincount(item)[1:]
    assert (per_user.min(), np.median(per_user), per_user.max()) == (5, 6, 204)
    assert (per_item.min(), np.median(per_item), per_item.max()) == (5, 9, 431)
    assert len(np.unique(user.astype(np.int64) * 20_000 + item)) == 198_502
    assert (ts.min(), ts.max()) == (1_023_840_000_000, 1_406_073_600_000)
    assert beauty.meta["time_resolution"] == "day"
    tied = beauty.rec.group_by(["user", "ts_ms"]).aggregate([([], "count_all")])["count_all"]
    assert len(tied) == 121_100
    assert sum(n for n in tied.to_pylist() if n > 1) == 114_204
    assert beauty.items["title"].null_count == 7
    assert int((beauty.items["brand"].to_numpy() == 0).sum()) == 2_098
    assert int(beauty.items["brand"].to_numpy().max()) == 2_076


def test_beauty_has_the_known_pseudo_queries(beauty: SourceTables):
    assert (beauty.queries.num_rows, beauty.tokens.num_rows) == (252, 274)
    words = [len(tok) for tok in beauty.queries["tok"].to_pylist()]
    assert round(float(np.mean(words)), 2) == 6.05
    pairs = {q: set() for q in beauty.queries["query"].to_pylist()}
    clicked = beauty.search["clicked"].to_pylist()
    for query, (item,) in zip(beauty.search["query"].to_pylist(), clicked, strict=True):
        pairs[query].add(item)
    sizes = {query: len(items) for query, items in pairs.items()}
    assert sum(sizes.values()) == 12_101  # every item has exactly one
    assert np.median(list(sizes.values())) == 15.5
    largest = max(sizes, key=sizes.__getitem__)
    assert sizes[largest] == 712
    assert beauty.queries["text"][largest - 1].as_py() == "beauty makeup nails nail polish"


def test_beauty_keeping_digits_has_the_known_words():
    if not BEAUTY.is_dir():
        pytest.skip("the Beauty files are not here")
    tables = read_amazon(BEAUTY, recipe=Recipe(letters_only=False))
    assert (tables.queries.num_rows, tables.tokens.num_rows) == (252, 272)
    words = [len(tok) for tok in tables.queries["tok"].to_pylist()]
    assert round(float(np.mean(words)), 2) == 6.06


@pytest.mark.parametrize(
    ("split", "order", "sizes"),
    [
        ("leave_one_out_joint", "time", (142_628, 17_452, 17_452)),
        ("leave_one_out_joint", "source", (153_776, 22_363, 22_363)),
        ("global_time", "time", (158_689, 19_666, 20_147)),
    ],
)
def test_beauty_has_the_known_splits(beauty: SourceTables, split: str, order: str, sizes: tuple):
    rec, search = (conform_table(name, beauty.table(name)) for name in ("rec", "search"))
    made = make_split(split, make_rec_events(rec), make_search_events(search), order)
    for task in ("rec", "search"):
        counts = made.info["counts"][task]
        assert (counts["train"], counts["valid"], counts["test"]) == sizes
    if split == "global_time":
        assert (made.info["t1"], made.info["t2"]) == (1_394_150_400_000, 1_399_939_200_000)


def test_file_order_is_the_published_order_of_beauty(beauty: SourceTables):
    """A stable sort by time gives the published sequence of every user, so --order changes none."""
    order = BEAUTY / "published_order.txt.gz"
    users, items = beauty.users["raw_id"].to_pylist(), beauty.items["raw_id"].to_pylist()
    row = {raw: [] for raw in users}
    for user, item in zip(*(beauty.rec[c].to_pylist() for c in ("user", "item")), strict=True):
        row[users[user - 1]].append(items[item - 1])
    with gzip.open(order, "rt") as file:
        same = [row[line.split()[0]] == line.split()[1:] for line in file]
    assert (sum(same), len(same)) == (22_363, 22_363)
    ordered = read_amazon(BEAUTY, order=order)
    for name in TABLES:
        assert ordered.table(name).equals(beauty.table(name)), name
    note = (
        "file order for all 22,363 users, so --order is not needed; 0 of its steps go back in time"
    )
    assert ordered.meta["notes"][-1] == f"source order = published_order.txt.gz: {note}"
