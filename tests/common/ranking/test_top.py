"""Items are listed, and targets placed, by the scores that the evaluator ranks by."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.ranking.protocols import evaluate
from common.ranking.top import make_ranker
from common.training.mesh import make_mesh
from common.training.task import Retriever


def retrieve(task, count=60):
    """The task with its own scores, backwards, as what finds `count` items."""
    score = task.score_catalogue
    found = Retriever("backwards", lambda *given: -score(*given), count)
    return task._replace(score_catalogue=None, retrievers={"rec": found, "search": found})


@pytest.mark.parametrize("served", ["rec", "search"])
@pytest.mark.parametrize("retrieves", [False, True])
def test_targets_stand_where_the_evaluator_ranks_them(dataset, dot, served, retrieves):
    task = retrieve(dot.task()) if retrieves else dot.task()
    evaluation = evaluate(task, dot.params(), {}, dataset)
    ranks = evaluation.ranks[served, "full"]
    rank = make_ranker(
        task, dot.params(), {}, make_mesh(jax.devices()[:1]), filter_seen="history", batch_size=16
    )
    top = rank(dataset, served, ranks.row, 100)
    low = 1 + top.target.final.greater
    np.testing.assert_array_equal(low, ranks.rank_low)
    np.testing.assert_array_equal(low + top.target.final.equal, ranks.rank_high)
    assert top.ranked_items == evaluation.details["sizes"][f"{served}/full"]
    assert top.items.shape == top.scores.shape == (len(ranks.row), 60 if retrieves else 100)
    assert (np.diff(top.scores, axis=1) <= 0).all()
    target = dataset.events(served).target[ranks.row]
    row, place = np.nonzero(top.items == target[:, None])
    assert len(row) > 1
    np.testing.assert_array_equal(top.scores[row, place], top.target.score[row])
    assert ((low[row] <= 1 + place) & (1 + place <= ranks.rank_high[row])).all()
    if retrieves:
        first = evaluation.retriever[served, "full"]
        np.testing.assert_array_equal(1 + top.target.retriever.greater, first.rank_low)
        np.testing.assert_array_equal(np.sort(top.places, axis=1)[0], 1 + np.arange(60))


def test_a_score_that_is_no_number_names_the_row(dataset, dot):
    def spoil(params, constants, batch, items):
        wrong = (batch["user"] == 7)[:, None] & (items == 500)
        return jnp.where(wrong, jnp.nan, -items.astype(jnp.float32))

    task = dot.task(score_catalogue=spoil)
    rank = make_ranker(task, {}, {}, make_mesh(jax.devices()[:1]), filter_seen="none")
    rows = dataset.rows["rec", "test"]
    row = int(rows[dataset.rec.user[rows] == 7][0])
    with pytest.raises(FloatingPointError, match=f"rec.parquet, row {row + 1}: a score is not"):
        rank(dataset, "rec", rows, 3)
