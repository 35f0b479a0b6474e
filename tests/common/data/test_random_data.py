"""Random batches for measuring speed."""

from __future__ import annotations

import numpy as np

from common.data.random_data import draw_batch, draw_dataset
from common.data.view import View


def test_random_batches_are_like_real_ones():
    dataset = draw_dataset(np.random.default_rng(0), items=50, queries=9)
    view = View(rec_length=6, search_length=5, clicks=3, negatives=7)
    batch = draw_batch(np.random.default_rng(1), dataset, view, 400)
    assert batch["negatives"].shape == (400, 7)
    for ids, most in (("target", 50), ("negatives", 50), ("rec_item", 50), ("search_query", 9)):
        assert batch[ids].max() == most
        assert batch[ids].dtype == np.int32
    assert batch["target"].min() == 1
    np.testing.assert_array_equal(batch["rec_item"] != 0, batch["rec_mask"] != 0)
    np.testing.assert_array_equal(batch["search_query"] != 0, batch["search_mask"] != 0)
    assert not batch["search_click"][batch["search_mask"] == 0].any()
    assert 0.3 < (batch["search_click"][..., 0] != 0).sum() / batch["search_mask"].sum() < 0.7
    real = np.concatenate([batch["rec_mask"], batch["search_mask"]], axis=1)
    for row in range(400):
        ranks = batch["order"][row]
        assert sorted(ranks[real[row] != 0]) == list(range(real[row].sum()))
        assert set(ranks[real[row] == 0]) <= {11}


def test_full_histories():
    dataset = draw_dataset(np.random.default_rng(0), items=50, queries=9)
    batch = draw_batch(np.random.default_rng(1), dataset, View(rec_length=6), 30, full=True)
    assert batch["rec_mask"].all()
    assert batch["search_mask"].any()
    assert not batch["search_mask"].all()
