"""Evidence figures: one case by hand, brute force on random tables, and the reference scorers."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.dataset import Dataset
from common.data.events import RecEvents, make_searches
from common.data.loading import make_search_events
from common.data.readers.synthetic import generate
from common.data.splits import make_split
from common.errors import InputError
from common.ranking.evidence import (
    FIGURES,
    EvidenceTable,
    evidence_report,
    score_references,
    select_window,
)


def make_dataset(path, rec, search, truth, n_items=9):
    """A dataset in memory whose folder holds nothing but the truth."""
    (path / "truth").mkdir(parents=True, exist_ok=True)
    for name, table in truth.items():
        pq.write_table(pa.table(table), path / "truth" / f"{name}.parquet")
    return Dataset(
        path=path, manifest={"name": "test"}, split="none", history_order="time",
        n_users=int(rec.user.max()), n_items=n_items, n_queries=1, n_tokens=1, rec=rec,
        search=search, rows={}, query_tokens=np.zeros((2, 1), np.int32),
        item_categories=np.zeros((n_items + 1, 4), np.int32), load_lists=lambda task, part: {},
    )  # fmt: skip


def make_events(rec, search):
    """Clicks (user, ts, item) and searches without clicks (user, ts), both sorted."""
    user, ts, item = np.array(rec).T
    who, when = np.array(search).T
    zeros, ones = np.zeros(len(user), np.int32), np.ones(len(user), np.uint8)
    none = np.zeros(len(who), np.int32)
    return (
        RecEvents(user.astype(np.int32), ts, zeros, item.astype(np.int32), ones),
        make_searches(
            who.astype(np.int32), when, none, none + 1, np.zeros(len(who) + 1, np.int64), none[:0]
        ),
    )  # fmt: skip


@pytest.fixture
def dataset(tmp_path):
    """Two users; the target is each user's last click. Topics: item 1 -> 1, item 2 -> 2, 3 -> 3."""
    rec, search = make_events(
        [(1, 10, 1), (1, 20, 2), (1, 60, 1), (2, 10, 3), (2, 60, 2)],
        [(1, 30), (1, 40), (1, 50), (2, 20), (2, 30), (2, 40)],
    )
    truth = {
        "rec": {"row": np.arange(5), "intent": np.array([1, 2, 1, 3, 2], np.int32)},
        "items": {"item": np.arange(1, 4), "topic": np.arange(1, 4)},
        "search": {
            "row": np.arange(6),
            #                  user 1         user 2
            "topic": np.array([1, 3, 2,       3, 2, 1], np.int32),
            "useful": np.array([1, 0, 1,      0, 1, 0], np.uint8),
        },
    }  # fmt: skip
    return make_dataset(tmp_path, rec, search, truth)


def test_the_figures_of_two_lists_by_hand(dataset):
    rows = np.array([2, 4])
    rec_row, search_row = select_window(dataset.timeline, rows, 10)
    assert rec_row.tolist() == [2, 2, 2, 4, 4, 4]
    assert search_row.tolist() == [0, 1, 2, 3, 4, 5]
    weights = np.array([0.5, 0.3, 0.2, 0.3, 0.3, 0.4])
    report = evidence_report(dataset, EvidenceTable(rec_row, search_row, weights))
    model = {figure: found["value"] for figure, found in report["model"].items()}
    # List 1: useful 0.5 and 0.2 against 0.3 -> 1/2. List 2: 0.3 against 0.3 and 0.4 -> 1/4.
    assert model["auc_flag"] == pytest.approx(3 / 8)
    # List 1: 0.5 (topic 1, useful) against 0.3; the useful search about topic 2 is left out -> 1.
    # List 2: 0.3 (topic 2, useful) against 0.3 and 0.4 -> 1/4.
    assert model["auc_pair"] == pytest.approx(5 / 8)
    # Age rank 2: 0.5 of list 1 against 0.3 of list 2. Age rank 1: 0.3 of list 2 against 0.3 of
    # list 1. Age rank 0: no positive.
    assert model["auc_pair_age"] == pytest.approx(3 / 4)
    assert report["lists"] == {"flag": 2, "pair": 2}
    assert report["recency"]["auc_pair_age"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert report["oracle"]["auc_pair"]["value"] == 1.0


def test_reference_scores_by_hand(dataset):
    # The last two searches of each list.
    pairs = select_window(dataset.timeline, np.array([2, 4]), 2)
    assert pairs[1].tolist() == [1, 2, 4, 5]
    tables = score_references(dataset, *pairs)
    assert tables["recency"].weight.tolist() == [0.5, 1.0, 0.5, 1.0]
    # User 1 clicked topics 1 and 2 before the target, user 2 topic 3; searches: 3, 2 and 2, 1.
    assert tables["profile"].weight.tolist() == [0.0, 0.5, 0.0, 0.0]
    assert tables["oracle"].weight.tolist() == [0.0, 0.0, 1.0, 0.0]
    assert len(set(tables["random"].weight.tolist())) == 4


def test_a_figure_without_pairs_has_no_value(dataset):
    table = EvidenceTable(np.array([2]), np.array([0]), np.array([1.0]))
    report = evidence_report(dataset, table)
    assert report["model"]["auc_flag"] == {"value": None, "low": None, "high": None}
    assert report["lists"] == {"flag": 0, "pair": 0}
    empty = EvidenceTable(*[np.zeros(0, np.int64)] * 3)
    assert evidence_report(dataset, empty)["lists"] == {"flag": 0, "pair": 0}


def test_bad_input_is_named(dataset, tmp_path):

    def report(*columns):
        evidence_report(dataset, EvidenceTable(*map(np.array, columns)))

    with pytest.raises(InputError, match="search_row, entry 2: 6 is not in the table"):
        report([2, 2], [0, 6], [1.0, 1.0])
    with pytest.raises(InputError, match="one weight per pair"):
        report([2, 2], [0, 1], [1.0])
    with pytest.raises(InputError, match="not finite"):
        report([2], [0], [np.nan])
    (dataset.path / "truth" / "search.parquet").unlink()
    with pytest.raises(InputError, match=r"search\.parquet: not found; .*--truth=DIR"):
        report([2], [0], [1.0])


def test_an_exposure_is_no_target(tmp_path):
    rec, search = make_events([(1, 10, 1), (1, 60, 1)], [(1, 30)])
    truth = {
        "rec": {"row": np.array([1]), "intent": np.array([1], np.int32)},
        "items": {"item": np.arange(1, 4), "topic": np.arange(1, 4)},
        "search": {"row": np.array([0]), "topic": np.array([1]), "useful": np.array([1])},
    }
    dataset = make_dataset(tmp_path, rec, search, truth)
    table = EvidenceTable(np.array([0]), np.array([0]), np.array([1.0]))
    with pytest.raises(InputError, match="entry 1: row 1 is no click"):
        evidence_report(dataset, table)


def compare_naively(score, positive, negative):
    """Share of pairs in the right order."""
    pairs = [(p > n) + 0.5 * (p == n) for p in score[positive] for n in score[negative]]
    return sum(pairs), len(pairs)


def figures_naively(rec_row, search_row, weight, truth):
    useful = truth["search"]["useful"][search_row] == 1
    fits = truth["search"]["topic"][search_row] == truth["rec"]["intent"][rec_row]
    flags, pairs, lengths, ages = [], [], np.zeros(len(rec_row)), np.zeros(len(rec_row))
    for row in np.unique(rec_row):
        here = rec_row == row
        lengths[here] = here.sum()
        ages[here] = [(search_row[here] > s).sum() for s in search_row[here]]
        flags.append(compare_naively(weight, here & useful, here & ~useful))
        pairs.append(compare_naively(weight, here & useful & fits, here & ~useful & ~fits))
    strata = [
        compare_naively(
            weight,
            (lengths == length) & (ages == age) & useful & fits,
            (lengths == length) & (ages == age) & ~useful & ~fits,
        )
        for length in np.unique(lengths)
        for age in np.unique(ages)
    ]
    total = sum(n for _, n in strata)
    means = [[wins / n for wins, n in parts if n] for parts in (flags, pairs)]
    return [
        *(np.mean(m) if m else None for m in means),
        sum(wins for wins, _ in strata) / total if total else None,
    ]


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 5))
@settings(derandomize=True, deadline=None, max_examples=25)
def test_figures_equal_brute_force(tmp_path_factory, seed, n_users, n_searches):
    random = np.random.default_rng(seed)
    rec, search = make_events(
        [(u, 100 + i, 1) for u in range(1, n_users + 1) for i in range(2)],
        [(u, i) for u in range(1, n_users + 1) for i in range(n_searches)],
    )
    truth = {
        "rec": {"row": np.arange(2 * n_users), "intent": random.integers(1, 3, 2 * n_users)},
        "items": {"item": np.arange(1, 4), "topic": np.arange(1, 4)},
        "search": {
            "row": np.arange(n_users * n_searches),
            "topic": random.integers(1, 3, n_users * n_searches),
            "useful": random.integers(0, 2, n_users * n_searches),
        },
    }
    dataset = make_dataset(tmp_path_factory.mktemp("data"), rec, search, truth)
    rec_row, search_row = select_window(dataset.timeline, np.arange(2 * n_users), 4)
    keep = np.flatnonzero(random.random(len(rec_row)) < 0.8)  # lists of different lengths
    keep = random.permutation(keep)
    rec_row, search_row = rec_row[keep], search_row[keep]
    weight = random.integers(0, 3, len(keep)).astype(float)
    report = evidence_report(dataset, EvidenceTable(rec_row, search_row, weight))
    expected = figures_naively(rec_row, search_row, weight, truth)
    for figure, value in zip(FIGURES, expected, strict=True):
        found = report["model"][figure]
        if value is None:
            assert found["value"] is None
        else:
            assert found["value"] == pytest.approx(value, rel=1e-9, abs=1e-12)
            assert found["low"] <= found["value"] <= found["high"]
    assert report["recency"]["auc_pair_age"]["value"] in (0.5, None)


def read_events(tables):
    """The event tables of a generated data set as arrays."""
    rec = {name: tables.rec[name].to_numpy() for name in ("user", "ts_ms", "seq", "item", "label")}
    return RecEvents(*rec.values()), make_search_events(tables.search)


def report_references(tables, path):
    """Figures of the reference scorers at each user's last click, ten searches each."""
    rec, search = read_events(tables)
    truth = {
        name: {c: table[c].to_numpy() for c in table.column_names}
        for name, table in tables.truth.items()
        if name != "users"
    }
    dataset = make_dataset(path, rec, search, truth, n_items=tables.items.num_rows)
    rows = make_split("leave_one_out_per_task", rec, search, "time").rows["rec", "test"]
    pairs = select_window(dataset.timeline, rows, 10)
    random = score_references(dataset, *pairs, seed=1)["random"]
    report = evidence_report(dataset, random)
    values = {
        scorer: [report[scorer][figure]["value"] for figure in FIGURES]
        for scorer in ("model", "random", "recency", "profile", "oracle")
    }
    return report, values


def test_reference_scorers_on_demo(tmp_path):
    report, values = report_references(generate("demo"), tmp_path)
    expected = {
        "model": [0.50, 0.50, 0.50],  # a random scorer of another seed
        "random": [0.50, 0.50, 0.50],
        "recency": [0.51, 0.71, 0.50],
        "profile": [0.92, 0.90, 0.92],
        "oracle": [0.62, 1.00, 1.00],
    }
    for scorer, figures in expected.items():
        assert values[scorer] == pytest.approx(figures, abs=0.03), scorer
    assert report["recency"]["auc_pair_age"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert report["lists"]["flag"] == pytest.approx(1_734, rel=0.02)
    assert report["lists"]["pair"] == pytest.approx(1_132, rel=0.05)
    width = report["profile"]["auc_pair_age"]["high"] - report["profile"]["auc_pair_age"]["low"]
    assert 0.01 < width < 0.05


def test_the_profile_helps_less_where_noise_is_from_the_users_topics(tmp_path):
    _, values = report_references(generate("demo", noise="user"), tmp_path)
    assert values["profile"] == pytest.approx([0.69, 0.69, 0.71], abs=0.03)


def test_methods_do_not_name_the_truth():
    root = Path(__file__).resolve().parents[3]
    for package in ("lcr_jax", "gensr_jax", "baselines_jax", "common/nn", "common/training"):
        for file in sorted((root / package).rglob("*.py")):
            text = file.read_text()
            assert "truth/" not in text, file
            assert '"truth"' not in text, file
