"""Retrieving and ranking again: ranks worked out by hand, ties, and what the evaluator says."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from common.data.view import View, candidate_items
from common.errors import InputError
from common.ranking.blind import draw_order, pad_columns, score_shuffled
from common.ranking.catalogue import split_catalogue
from common.ranking.protocols import evaluate, make_evaluator
from common.ranking.ranks import RankTable
from common.ranking.report import format_report
from common.ranking.rerank import (
    bind_finder,
    find_top,
    make_shortlist,
    measure_recall,
    rerank_catalogue,
)
from common.ranking.results import build_results
from common.training.task import Other, Retriever

N = 8
# Scores of the items 1..8, a row each: first the retriever's, then the method's.
FIRST = [
    [9, 8, 7, 1, 1, 1, 1, 1],
    [9, 8, 7, 1, 1, 1, 1, 1],
    [9, 8, 7, 6, 5, 5, 1, 1],
    [4, 4, 4, 4, 4, 1, 1, 1],
    [9, 8, 7, 6, 5, 4, 3, 2],
    [9, 8, 7, 6, 5, 4, 3, 2],
    [4, 4, 4, 4, 4, 1, 1, 1],
]
METHOD = [
    [1, 2, 3, 9, 9, 9, 9, 9],  # what is not retrieved does not count, however good
    [5, 3, 5, 0, 0, 0, 0, 0],
    [1, 1, 1, 1, 9, 1, 1, 1],
    [1, 1, 1, 1, 9, 1, 1, 1],
    [9, 9, 9, 2, 1, 3, 3, 3],
    [9, 9, 9, 9, 9, 9, 2, 5],
    [1, 2, 3, 9, 9, 9, 9, 9],
]
TARGET = [2, 1, 5, 5, 4, 8, 2]
SEEN = [[], [], [], [], [1, 2], [1, 2, 3, 4, 5, 6], []]
# (items above, items equal) with three retrieved:
EXPECTED = [
    (1, 0),  # 2 is retrieved; of 1, 2, 3 the method puts 3 above it
    (0, 1),  # 1 is retrieved and ties with 3
    (4, 1),  # 5 is not retrieved: fifth or sixth by the retriever, though the method likes it best
    (3, 1),  # five items tie for three places and 5 gets none: it is the fourth or the fifth
    (1, 0),  # 1 and 2 are left out, so 3, 4, 5 are retrieved
    (0, 0),  # two items are left for three places
    (1, 0),  # of tied items the smaller ids are retrieved, and 2 is one of them
]


def take(table):
    def score(params, constants, batch, items):
        return jnp.asarray(table, jnp.float32)[:, jnp.maximum(items - 1, 0)]

    return score


def make_batch():
    seen = np.zeros((len(SEEN), 16), np.int32)
    for row, items in enumerate(SEEN):
        seen[row, : len(items)] = items
    target = jnp.array(TARGET)
    return {"target": target, "negatives": jnp.zeros((len(TARGET), 0), jnp.int32)}, seen


def retrieve_with(score_catalogue, count, **more):
    return dict.fromkeys(("rec", "search"), Retriever("first", score_catalogue, count, **more))


def rank_again(task, batch, seen):
    retriever, rows = task.retrievers["rec"], np.arange(len(TARGET))
    count = 1 + min(retriever.count, N)
    places = jnp.asarray(draw_order(0, rows, count + pad_columns(count)))
    shortlist = make_shortlist(
        bind_finder(retriever, {}, {}, batch, None),
        lambda items: score_shuffled(partial(task.score, {}, {}), batch, items, places),
        retriever.count,
        batch["target"],
        seen,
        jnp.full(len(TARGET), 6),
        split_catalogue(N, 8),
    )
    return rerank_catalogue(shortlist, batch["target"])


def make_task(dot, count=3, method=METHOD, first=FIRST):
    def score(params, constants, batch):
        places = jnp.maximum(candidate_items(batch) - 1, 0)
        return jnp.take_along_axis(jnp.asarray(method, jnp.float32), places, axis=1)

    task = dot.task(score=score)
    return task._replace(score_catalogue=None, retrievers=retrieve_with(take(first), count))


def test_ranks_by_hand(dot):
    batch, seen = make_batch()
    result = rank_again(make_task(dot), batch, seen)
    pairs = np.stack([result.final.greater, result.final.equal], axis=1)
    assert list(map(tuple, pairs.tolist())) == EXPECTED
    assert not result.final.broken.any()
    by_retriever = list(zip(*(np.asarray(x).tolist() for x in result.retriever[:2]), strict=True))
    assert by_retriever == [(1, 0), (0, 0), (4, 1), (0, 4), (1, 0), (1, 0), (0, 4)]


def test_the_best_items_come_in_order_and_without_those_that_are_left_out():
    _, seen = make_batch()
    top = np.asarray(find_top(lambda items: take(FIRST)(0, 0, 0, items), seen,
                              split_catalogue(N, 8), 3))  # fmt: skip
    assert top.tolist() == [
        [1, 2, 3], [1, 2, 3], [1, 2, 3], [1, 2, 3], [3, 4, 5], [7, 8, 0], [1, 2, 3]]  # fmt: skip


def test_chunks_do_not_matter():
    rng = np.random.default_rng(0)
    table = rng.integers(0, 40, (4, 700)).astype(np.float32)  # many ties
    seen = np.zeros((4, 16), np.int32)
    seen[:, :5] = np.sort(rng.choice(np.arange(1, 701), (4, 5), replace=False), axis=1)
    whole, parts = split_catalogue(700, 4), split_catalogue(700, 4, 1)
    assert len(whole) == 1 < len(parts)
    found = [
        find_top(lambda items: take(table)(0, 0, 0, items), seen, c, 50) for c in (whole, parts)
    ]
    np.testing.assert_array_equal(*found)
    for row, line in enumerate(np.asarray(found[0])):
        scores = table[row].copy()
        scores[seen[row, :5] - 1] = -1
        np.testing.assert_array_equal(line, np.argsort(-scores, kind="stable")[:50] + 1)


def test_a_score_that_is_no_number_is_found(dot):
    batch, seen = make_batch()
    spoiled = np.array(METHOD, np.float32)
    spoiled[0, 2] = np.nan  # item 3 of row 0 is retrieved, item 7 of row 1 is not
    spoiled[1, 6] = np.inf
    result = rank_again(make_task(dot, method=spoiled), batch, seen)
    assert result.final.broken.tolist() == [3, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("count", [40, 5000])
def test_a_retriever_that_is_the_method_changes_nothing(dataset, dot, count):
    """Whole numbers, so that both ways of scoring give the same bits."""
    plain, params = dot.task(), dot.params(whole=True)
    again = plain._replace(
        score_catalogue=None, retrievers=retrieve_with(plain.score_catalogue, count)
    )
    expected = evaluate(plain, params, {}, dataset, batch_size=16)
    result = evaluate(again, params, {}, dataset, batch_size=16)
    assert result.ranks.keys() == expected.ranks.keys()
    assert result.details["sizes"] == expected.details["sizes"]
    for key, table in result.ranks.items():
        known = expected.ranks[key]
        clear = (known.rank_high <= count) | (known.rank_low > count)
        assert clear.sum() > 10
        for name in RankTable._fields:
            np.testing.assert_array_equal(
                getattr(table, name)[clear], getattr(known, name)[clear], f"{key}, {name}"
            )
    for key, table in result.retriever.items():
        np.testing.assert_array_equal(np.stack(table), np.stack(expected.ranks[key]), str(key))
    assert not expected.retriever


def test_the_retriever_stands_beside_the_method(dataset, dot):
    plain = dot.task()

    def forward(params, constants, batch, items):
        return jnp.broadcast_to(-items.astype(jnp.float32), (len(batch["user"]), len(items)))

    task = plain._replace(score_catalogue=None, retrievers=retrieve_with(forward, 60))
    result = evaluate(task, dot.params(), {}, dataset)
    alone = evaluate(plain._replace(score_catalogue=forward), dot.params(), {}, dataset)
    for name in ("rec", "search"):
        table = alone.ranks[name, "full"]
        np.testing.assert_array_equal(np.stack(result.retriever[name, "full"]), np.stack(table))
        recall = (table.rank_low <= 60).mean()
        assert recall > 0.5
        told = {"count": 60, "recall": recall, "by": "first"}
        assert result.details["retrieved"][f"{name}/full"] == told
        found = table.rank_low <= 60
        final = result.ranks[name, "full"]
        assert (final.rank_high[found] <= 60).all()
        np.testing.assert_array_equal(final.rank_low[~found], table.rank_low[~found])
    results = build_results(
        dataset, result, {"retriever": result.retriever}, seed=0, wall_seconds=1.0, resamples=50
    )
    assert results["sanity"]["retriever"]["rec"]["full"]["HR@10"]["value"] > 0
    assert results["protocol"]["retrieved"]["rec/full"]["count"] == 60
    report = format_report(results)
    assert "  retriever" in report
    assert "  60 items found by first, ranked again; recall of the target " in report


def test_recall_counts_ties_at_the_last_place_in_part(dot):
    table = RankTable(
        np.arange(4), np.ones(4, np.int32), np.array([1, 3, 3, 4]), np.array([1, 3, 4, 4])
    )
    shares = measure_recall(make_task(dot, count=3).retrievers, {("rec", "full"): table})
    assert shares == {"rec/full": {"count": 3, "recall": 2.5 / 4, "by": "first"}}


def test_without_a_retriever_there_is_no_full_ranking(dataset, dot):
    with pytest.raises(InputError, match="no protocol full"):
        evaluate(dot.task()._replace(score_catalogue=None), {}, {}, dataset, protocols=("full",))


def test_another_model_finds_with_its_own_batches_of_all_rows(dataset, dot):
    """Its histories are longer, its parameters its own, and no row is too short for it."""
    plain = dot.task()
    longer = View(rec_length=9, search_length=1, clicks=1, min_history=14, negatives=3)
    model = dot.task(view=longer), dot.params(seed=1)
    short = dataset.timeline.history_size("rec", dataset.rows["rec", "test"]) < 14
    assert 0 < short.sum() < len(short)
    other = Other(longer, model[1], {})
    retriever = Retriever("far", plain.score_catalogue, 60, other, {"run": "runs/far", "step": 12})
    task = plain._replace(score_catalogue=None, retrievers={"rec": retriever})
    result = evaluate(task, dot.params(), {}, dataset, batch_size=16)
    everyone = model[0]._replace(view=View(rec_length=9, search_length=1, clicks=1))
    alone = evaluate(everyone, model[1], {}, dataset, batch_size=16)
    assert result.ranks["rec", "full"].row.tolist() == dataset.rows["rec", "test"].tolist()
    for found, known in zip(
        result.retriever["rec", "full"], alone.ranks["rec", "full"], strict=True
    ):
        np.testing.assert_array_equal(found, known)
    told = result.details["retrieved"]
    assert set(told) == {"rec/full"}
    assert (told["rec/full"]["run"], told["rec/full"]["step"]) == ("runs/far", 12)
    # Nothing finds items for search, so it has its stored lists alone.
    assert ("search", "full") not in result.ranks
    assert ("search", "uniform12") in result.ranks


def test_an_edit_reaches_both_models(dataset, dot):
    plain, params = dot.task(), dot.params()
    retriever = Retriever("same", plain.score_catalogue, 60, Other(plain.view, params, {}))
    task = plain._replace(score_catalogue=None, retrievers={"rec": retriever})

    def forget(batch):
        return {**batch, "rec_item": np.zeros_like(batch["rec_item"])}

    edited = make_evaluator(task, dataset)(params, {}, forget)
    known = make_evaluator(plain, dataset)(params, {}, forget)
    for found, expected in zip(
        edited.retriever["rec", "full"], known.ranks["rec", "full"], strict=True
    ):
        np.testing.assert_array_equal(found, expected)
