"""The control of the evidence figures: who is fed the searches of others can only guess."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from common.data.batches import evaluation_source
from common.data.edits import pool_searches, swap_searches
from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.readers.synthetic import generate
from common.data.view import View
from common.ranking import evidence
from common.ranking.evidence import FIGURES, EvidenceTable, evidence_report

DRAWS = 20


@pytest.fixture
def dataset(tmp_path):
    write_dataset(tmp_path / "tiny", generate("tiny"), PrepareSettings())
    return load_dataset(tmp_path / "tiny")


def test_knowing_the_intent_does_not_help_with_searches_of_others(dataset, monkeypatch):
    monkeypatch.setattr(evidence, "RESAMPLES", 2)
    view = View(search_length=6, rec_length=8, clicks=2, negatives=0)
    rows = np.union1d(dataset.rows["rec", "valid"], dataset.rows["rec", "test"])
    batch = evaluation_source(dataset, view, rows, len(rows))[0]
    truth = {name: pq.read_table(dataset.path / "truth" / f"{name}.parquet") for name in
             ("rec", "search")}  # fmt: skip
    topics = np.zeros(dataset.n_queries + 1, np.int64)
    topics[dataset.search.query[truth["search"]["row"]]] = truth["search"]["topic"]
    intents = np.zeros(len(dataset.rec.user), np.int64)
    intents[truth["rec"]["row"]] = truth["rec"]["intent"]
    real = batch["search_mask"] != 0

    def weigh(fed):
        """Evidence of a scorer that sees only what it is fed: does it fit the intent?"""
        logits = 2.0 * (topics[fed["search_query"]] == intents[fed["row"]][:, None])
        weights = np.exp(logits) * real
        return (weights / (1 + weights.sum(axis=1, keepdims=True)))[real]

    pool = pool_searches(dataset.timeline, 2)
    swapped = {
        f"swapped {draw}": weigh(swap_searches(batch, pool, draw=draw)) for draw in range(DRAWS)
    }
    targets = np.broadcast_to(batch["row"][:, None], real.shape)[real]
    table = EvidenceTable(targets, batch["search_row"][real], weigh(batch))
    report = evidence_report(dataset, table, 0, swapped)
    assert list(report) == ["model", *swapped, "random", "recency", "profile", "oracle", "lists"]
    for figure in FIGURES:
        control = np.mean([report[name][figure]["value"] for name in swapped])
        assert abs(control - 0.5) < 0.05, figure
    assert report["model"]["auc_pair_age"]["value"] > 0.8
