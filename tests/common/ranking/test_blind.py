"""A scorer that knows what it should not comes out at chance, or is refused."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from common.data.view import candidate_items
from common.errors import InputError
from common.ranking.blind import draw_items, draw_order, hide_target, put_back
from common.ranking.metrics import metrics_from_ranks
from common.ranking.protocols import evaluate, make_evaluator
from common.training.task import Other, Retriever


def by_column(params, constants, batch):
    """The stored lists have the positive in column 0."""
    candidates = candidate_items(batch)
    return jnp.broadcast_to(-jnp.arange(candidates.shape[1], dtype=jnp.float32), candidates.shape)


def by_target(params, constants, batch):
    candidates = candidate_items(batch)
    same = (candidates == batch["target"][:, None]).astype(jnp.float32)
    return same - jnp.arange(candidates.shape[1]) / 1e6


def by_repeats(params, constants, batch):
    """What stands in a row several times might fill it up."""
    candidates = candidate_items(batch)
    equal = candidates[:, :, None] == candidates[:, None, :]
    return equal.sum(axis=2).astype(jnp.float32) - jnp.arange(candidates.shape[1]) / 1e3


CHEATS = {"column": by_column, "target": by_target, "repeats": by_repeats}


def retrieve(task, other=None):
    """The task with a shortlist in place of its own full ranking."""
    first = Retriever("first", task.score_catalogue, 20, other=other)
    return task._replace(score_catalogue=None, retrievers=dict.fromkeys(("rec", "search"), first))


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
@pytest.mark.parametrize("retrieves", [False, True], ids=["catalogue", "shortlist"])
def test_a_scorer_that_cheats_comes_out_at_chance(dataset, dot, cheat, retrieves):
    task = dot.task(score=cheat)
    result = evaluate(retrieve(task) if retrieves else task, dot.params(), {}, dataset)
    for name in ("rec", "search"):
        for protocol in ("uniform12", "popularity12"):
            table = result.ranks[name, protocol]
            hits = metrics_from_ranks(table.rank_low, table.rank_high, hit_cuts=(3,))["HR@3"]
            deviation = np.sqrt(3 / 13 * 10 / 13 / len(hits))
            assert abs(hits.mean() - 3 / 13) < 3.5 * deviation, (name, protocol)
    if retrieves:  # of 20 retrieved and the positive, a shuffled order puts it anywhere
        table = result.ranks["rec", "full"]
        found = table.rank_low <= 20
        assert not (table.rank_low[found] == 1).all()


def test_the_columns_are_put_back(dataset, dot):
    """The same ranks whatever the order: these scores are whole numbers, so nothing is rounded."""
    task, params = dot.task(), dot.params(whole=True)
    run = make_evaluator(task, dataset, protocols=["uniform12"])
    table = run(params, {}).ranks["rec", "uniform12"]
    lists = dataset.load_lists("rec", "test")["uniform12"].items
    where = {row: place for place, row in enumerate(dataset.rows["rec", "test"])}
    place = np.array([where[row] for row in table.row])
    seen = {}

    def spy(params, constants, batch):
        seen["candidates"] = candidate_items(batch)
        return task.score(params, constants, batch)

    evaluate(dot.task(score=spy), params, {}, dataset, protocols=["uniform12"])
    assert seen["candidates"].shape[1] == 16  # a multiple of 8
    order = draw_order(0, table.row, 16)
    assert (np.sort(order, axis=1) == np.arange(16)).all()
    assert len(np.unique(order[:, 0])) > 8  # the first column is any of the candidates
    filled = np.concatenate([lists[place], draw_items(0, table.row, 3, dataset.n_items)], axis=1)
    np.testing.assert_array_equal(
        put_back(np.take_along_axis(filled, order.astype(int), axis=1), order), filled
    )


def test_the_target_is_hidden_everywhere(dataset, dot):
    """Also from the catalogue's scorer, and from a retriever that is another model."""
    task = dot.task()
    views = []

    def record(params, constants, batch, items):
        views.append(sorted(batch))
        same = jnp.broadcast_to(
            items == batch["target"][:, None], (len(batch["target"]), len(items))
        )
        return same.astype(jnp.float32) - items / 1e6

    for cheat in (
        task._replace(score_catalogue=record),
        retrieve(task._replace(score_catalogue=record)),
        retrieve(task._replace(score_catalogue=record), Other(task.view, dot.params(), {})),
    ):
        result = evaluate(cheat, dot.params(), {}, dataset)
        ranks = (result.retriever or result.ranks)["rec", "full"]
        # Behind the item that stands in for it, by its id: never first by being the target.
        assert (ranks.rank_low == 1).mean() < 0.1
    assert not {"positive", "places", "stand_in", "seen"} & set().union(*views)


def test_who_scores_the_catalogue_is_not_told_the_lists(dataset, dot):
    task = dot.task()

    def listed(params, constants, batch, items):
        candidates = candidate_items(batch)
        assert candidates.shape[1] == 1  # the stand-in alone
        return jnp.isin(items[None, :], candidates).astype(jnp.float32) + 0 * candidates

    cheat = task._replace(score_catalogue=listed)
    assert ("rec", "full") in evaluate(cheat, dot.params(), {}, dataset).ranks
    assert evaluate(retrieve(cheat), dot.params(), {}, dataset).retriever


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda scores: scores[:, :1], r"gives float32\[\d+, 1\], not floats \[\d+, 32\]"),
        (lambda scores: jnp.pad(scores, ((0, 0), (0, 5))), r"gives float32\[\d+, 37\]"),
        (lambda scores: scores[:1], r"gives float32\[1, 32\]"),
        (lambda scores: scores[0, 0], r"gives float32\[\]"),
        (lambda scores: scores + 1j, r"gives complex64"),
        (lambda scores: scores > 0, r"gives bool"),
        (lambda scores: scores.astype(jnp.int32), r"gives int32"),
        (lambda scores: np.ma.masked_array(np.zeros(scores.shape)), r"gives a MaskedArray"),
        (lambda scores: np.full(scores.shape, "a"), r"gives <U1"),
        (lambda scores: "1.0", r"gives a str"),
        (lambda scores: None, r"gives a NoneType"),
    ],
)
def test_scores_of_another_form_are_refused(dataset, dot, spoil, told):
    task = dot.task()
    spoilt = task._replace(score=lambda *arguments: spoil(task.score(*arguments)))
    with pytest.raises(InputError, match=f"^method dot, score: {told}"):
        evaluate(spoilt, dot.params(), {}, dataset)


@pytest.mark.parametrize("spoil", [lambda s: s[:, :1], lambda s: s[:1], lambda s: s + 1j])
def test_scores_of_the_catalogue_too(dataset, dot, spoil):
    task = dot.task()
    spoilt = task._replace(score_catalogue=lambda *a: spoil(task.score_catalogue(*a)))
    for each in (spoilt, retrieve(spoilt)):
        with pytest.raises(InputError, match=r"^the scores of the catalogue: gives "):
            evaluate(each, dot.params(), {}, dataset)


def test_a_row_by_hand():
    batch = {
        "task": np.zeros(2, np.uint8), "row": np.array([4, 9]),
        "target": np.array([7, 8], np.int32),
        "negatives": np.array([[1, 2, 3], [4, 5, 6]], np.int32),
    }  # fmt: skip
    order = np.array([[2, 0, 1, 3], [1, 3, 2, 0]], np.int16)
    shown = hide_target(batch, order, 10)
    assert shown["target"].tolist() == [2, 4]
    assert shown["negatives"].tolist() == [[7, 1, 3], [6, 5, 8]]
    assert shown["positive"].tolist() == [7, 8]
    assert ((shown["stand_in"] >= 1) & (shown["stand_in"] <= 10)).all()
    alone = hide_target({**batch, "negatives": np.zeros((2, 0), np.int32)}, order[:, :1] * 0, 10)
    assert alone["target"].tolist() == shown["stand_in"].tolist()
