import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import InputError
from common.ranking import rank_metrics
from common.ranking.metrics import METRICS, mean_metrics, metrics_from_ranks
from common.ranking.ranks import RankTable, count_ranks, read_ranks, tie_rate, write_ranks

KEPT = settings(derandomize=True, deadline=None, max_examples=50)


def gain_at(rank, k):
    return 1 / math.log2(rank + 1) if rank <= k else 0.0


def brute_force(scores, positive, ks):
    """Metrics of every order that sorts the scores, as a list over orders."""
    orders = [
        order
        for order in itertools.permutations(range(len(scores)))
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    ranks = [order.index(positive) + 1 for order in orders]
    each = {f"HR@{k}": [float(rank <= k) for rank in ranks] for k in ks}
    each |= {f"NDCG@{k}": [gain_at(rank, k) for rank in ranks] for k in ks}
    return each | {"MRR": [1 / rank for rank in ranks]}


@KEPT
@given(st.lists(st.integers(0, 3), min_size=1, max_size=7), st.data())
def test_closed_forms_are_means_over_all_orders_of_ties(scores, data):
    positive = data.draw(st.integers(0, len(scores) - 1))
    ks = (1, 2, 5)
    expected = brute_force(scores, positive, ks)
    got = rank_metrics(np.array([scores], float), positive, ks)
    assert list(got) == ["HR@1", "HR@2", "HR@5", "NDCG@1", "NDCG@2", "NDCG@5", "MRR"]
    greater, equal = count_ranks([scores], positive)
    for name, orders in expected.items():
        assert got[name][0] == pytest.approx(np.mean(orders), abs=1e-12), name
        for policy, choose in (("optimistic", max), ("pessimistic", min)):
            bound = metrics_from_ranks(
                greater + 1, greater + equal + 1, policy=policy, hit_cuts=ks, gain_cuts=ks
            )
            assert bound[name][0] == pytest.approx(choose(orders), abs=1e-12), (policy, name)


@pytest.mark.parametrize("positive", [0, 50, 99])
def test_a_constant_scorer_gets_chance_wherever_the_positive_is(positive):
    got = rank_metrics(np.full((3, 100), 0.25), positive, (5, 10, 20))
    for k in (5, 10, 20):
        assert got[f"HR@{k}"] == pytest.approx(k / 100, abs=1e-12)
    assert got["NDCG@5"] == pytest.approx(0.0294846, abs=5e-8)
    assert got["NDCG@10"] == pytest.approx(0.0454356, abs=5e-8)
    assert got["NDCG@20"] == pytest.approx(0.0704027, abs=5e-8)
    assert got["MRR"] == pytest.approx(0.0518738, abs=5e-8)


@pytest.mark.parametrize("levels", [2, 256])
def test_coarse_random_scores_stay_at_chance(levels):
    rng = np.random.default_rng(levels)
    scores = rng.integers(0, levels, size=(5_000, 100)) / levels
    got = rank_metrics(scores)
    # four standard errors of a share over 5,000 rows
    assert abs(got["HR@1"].mean() - 0.01) < 4 * math.sqrt(0.01 * 0.99 / 5_000)
    assert abs(got["HR@10"].mean() - 0.10) < 4 * math.sqrt(0.10 * 0.90 / 5_000)


def test_the_column_of_the_positive_does_not_matter():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 9, size=(40, 30)).astype(float)
    first = rank_metrics(scores, 0)
    order = rng.permuted(np.tile(np.arange(30), (40, 1)), axis=1)
    moved = rank_metrics(np.take_along_axis(scores, order, 1), np.argmin(order, axis=1))
    for name, values in first.items():
        np.testing.assert_array_equal(values, moved[name], err_msg=name)
        assert values.dtype == np.float64
        assert values.shape == (40,)


def test_scores_are_compared_in_float32():
    near, far = np.array([[1.0, 1.0 + 1e-9]]), np.array([[1.0, 1.0 + 1e-6]])
    assert count_ranks(near) == (0, 1)
    assert count_ranks(far) == (1, 0)
    assert count_ranks(jnp.array([[3.0, 3.0, 1.0]], jnp.bfloat16)) == (0, 1)


@pytest.mark.parametrize(
    ("scores", "positive", "says"),
    [
        ([[1.0, 2.0], [1.0, math.nan]], 0, "row 1, candidate 1: nan"),
        ([[1.0, -math.inf]], 0, "row 0, candidate 1: -inf"),
        ([[1.0, 1e300]], 0, "row 0, candidate 1: inf"),
        ([1.0, 2.0], 0, r"shape \(2,\)"),
        (np.zeros((2, 0)), 0, r"shape \(2, 0\)"),
        (np.zeros((0, 5)), 0, r"shape \(0, 5\)"),
        ([[1.0, 2.0]], 2, "row 0: column 2 of 2 candidates"),
        ([[1.0, 2.0], [1.0, 2.0]], [0, -1], "row 1: column -1"),
        ([[1.0, 2.0]], [0, 1], "one for each of the 1 rows"),
        ([[1.0, 2.0]], 0.0, "one column number"),
    ],
)
def test_bad_scores_are_refused_with_their_row(scores, positive, says):
    with pytest.raises(ValueError, match=says):
        rank_metrics(scores, positive)


def test_metrics_without_ties_are_exact():
    got = metrics_from_ranks(np.array([1, 3, 60]), np.array([1, 3, 60]))
    assert tuple(got) == METRICS
    assert got["MRR"].tolist() == [1.0, 1 / 3, 1 / 60]
    assert got["NDCG@5"].tolist() == [1.0, 0.5, 0.0]
    assert got["HR@50"].tolist() == [1.0, 1.0, 0.0]


def test_bad_ranks_and_cuts_are_refused():
    one = np.array([1])
    for low, high, options in (
        (0 * one, one, {}),
        (2 * one, one, {}),
        (one, one, {"policy": "lucky"}),
        (one, one, {"hit_cuts": (0,)}),
    ):
        with pytest.raises(ValueError, match=r"ranks|policy|cuts"):
            metrics_from_ranks(low, high, **options)


def tables():
    def ints(*values):
        return np.array(values, np.int32)

    first = RankTable(np.array([2, 7]), ints(1, 4), ints(1, 3), ints(1, 5))
    second = RankTable(np.array([0]), ints(9), ints(11), ints(11))
    return {("search", "full"): second, ("rec", "uniform99"): first, ("rec", "full"): first}


def test_means_are_keyed_by_task_protocol_metric():
    means = mean_metrics(tables())
    assert means["rec/uniform99/HR@1"] == 0.5
    assert means["rec/full/HR@10"] == 1.0
    assert means["mean/full/HR@10"] == 0.5  # both tasks have it
    assert "mean/uniform99/HR@10" not in means
    assert tie_rate(tables()) == pytest.approx(2 / 5)


def test_ranks_survive_the_file_and_come_back_sorted(tmp_path):
    path = tmp_path / "ranks.parquet"
    write_ranks(path, tables())
    assert [entry.name for entry in tmp_path.iterdir()] == ["ranks.parquet"]
    back = read_ranks(path)
    assert list(back) == [("rec", "full"), ("rec", "uniform99"), ("search", "full")]
    for key, table in tables().items():
        for name in RankTable._fields:
            column, expected = getattr(back[key], name), getattr(table, name)
            np.testing.assert_array_equal(column, expected)
            assert column.dtype == expected.dtype, name


def test_rows_that_repeat_are_refused(tmp_path):
    table = tables()["rec", "full"]
    with pytest.raises(ValueError, match="rec/full: rows are not strictly ascending"):
        write_ranks(
            tmp_path / "ranks.parquet", {("rec", "full"): table._replace(row=np.array([7, 7]))}
        )


def test_a_file_without_a_column_is_refused(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"task": ["rec"]}), tmp_path / "ranks.parquet")
    with pytest.raises(InputError, match="no column protocol"):
        read_ranks(tmp_path / "ranks.parquet")
