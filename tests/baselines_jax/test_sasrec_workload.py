"""SASRec's workload: a packed batch as the trainer's, and operations counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from baselines_jax.workload import Sizes, open_work
from common.data.folder import load_dataset
from common.data.sequences import sequence_source
from common.data.view import HOST_FIELDS


def test_it_packs_and_counts(tiny):
    sizes = Sizes(batch=3, length=5, items=40, width=4, layers=2, lists=7)
    work = open_work(sizes)
    load, score = work.loads["supervised"], work.loads["score"]
    dataset = load_dataset(tiny)
    real = sequence_source(dataset, work.task.stages[0].view, 3, 0, 1)[0]
    real = {name: array for name, array in real.items() if name not in (*HOST_FIELDS, "user")}
    assert real.keys() == load.batch.keys()
    for name, array in load.batch.items():
        assert (array.dtype, array.ndim) == (real[name].dtype, real[name].ndim), name
    assert load.rows == 3 * 5  # targets
    np.testing.assert_array_equal(load.batch["reader"], range(1, 16))
    # Of 5 events: two layers of 12 products of 4 by 4 an event, and attention of each to each.
    encoder = 2 * 2 * (12 * 5 * 16 + 2 * 25 * 4)
    assert load.flop == pytest.approx(3 * (encoder / 5 + 2 * 40 * 4))
    assert score.flop == encoder + 2 * 100 * 4
    assert score.batch["negatives"].shape == (7, 99)
