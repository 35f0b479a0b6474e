"""LightGCN against dense algebra, and a graph that knows the train rows alone."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from common.data.dataset import Dataset
from common.data.events import RecEvents, make_searches
from gensr_jax.graph import build_graph, find_edges, smooth
from gensr_jax.lightgcn import (
    bpr_loss,
    export_table,
    export_vectors,
    init_lightgcn,
    propagate,
    retrieve,
    score,
    score_catalogue,
)

USERS, ITEMS, WIDTH = 6, 8, 5
# (user, item) of rec rows and (user, clicked items) of search rows. User 6 and item 8 have no
# train row; (1, 1) comes twice in rec and once more in search.
REC = [(1, 1), (1, 1), (1, 2), (2, 2), (2, 3), (3, 4), (3, 8), (4, 1), (5, 5), (5, 6)]
REC_TRAIN = [0, 1, 2, 3, 5, 7, 8]
SEARCH = [(1, (1, 7)), (2, (5,)), (4, ()), (4, (6,)), (6, (8,))]
SEARCH_TRAIN = [0, 1]
EDGES = {(1, 1), (1, 2), (2, 2), (3, 4), (4, 1), (5, 5), (1, 7), (2, 5)}


def make_dataset(rec=REC, search=SEARCH):
    user, item = np.array(rec, np.int32).T
    order = np.arange(len(rec))
    clicks = [list(clicked) for _, clicked in search]
    empty = np.zeros(0, np.int64)
    rows = {(task, part): empty for task in ("rec", "search") for part in ("valid", "test")}
    return Dataset(
        path=Path("."),
        manifest={"name": "six by eight", "sha256": "ab" * 32},
        split="by_hand",
        history_order="time",
        n_users=USERS,
        n_items=ITEMS,
        n_queries=1,
        n_tokens=0,
        rec=RecEvents(
            user, order.astype(np.int64), order.astype(np.int32), item, np.ones(len(rec), np.uint8)
        ),
        search=make_searches(
            np.array([user for user, _ in search], np.int32),
            np.arange(len(search), dtype=np.int64),
            np.zeros(len(search), np.int32),
            np.ones(len(search), np.int32),
            np.cumsum([0, *map(len, clicks)]),
            np.array([item for clicked in clicks for item in clicked], np.int32),
        ),
        rows=rows
        | {
            ("rec", "train"): np.array(REC_TRAIN),
            ("rec", "valid"): np.array([4, 9]),
            ("rec", "test"): np.array([6]),
            ("search", "train"): np.array(SEARCH_TRAIN),
            ("search", "valid"): np.array([3]),
            ("search", "test"): np.array([4]),
        },
        query_tokens=np.zeros((2, 1), np.int32),
        item_categories=np.zeros((ITEMS + 1, 4), np.int32),
        load_lists=lambda task, part: {},
    )


def dense_matrix():
    """The normalised adjacency matrix from the list of edges, in float64."""
    size = USERS + 1 + ITEMS + 1
    matrix = np.zeros((size, size))
    for user, item in EDGES:
        matrix[user, USERS + 1 + item] = matrix[USERS + 1 + item, user] = 1.0
    degree = np.maximum(matrix.sum(axis=1), 1.0)
    return matrix / np.sqrt(degree[:, None] * degree[None])


@pytest.fixture(scope="module")
def graph():
    return {name: jnp.asarray(array) for name, array in build_graph(make_dataset()).items()}


@pytest.fixture(scope="module")
def params():
    return init_lightgcn(jax.random.key(0), USERS, ITEMS, WIDTH)


def joined(params):
    return np.concatenate([params["cf"]["user"], params["cf"]["item"]]).astype(np.float64)


def test_edges_are_the_distinct_pairs_of_train_rows():
    users, items = find_edges(make_dataset())
    assert len(users) == len(EDGES)
    assert set(zip(users.tolist(), items.tolist(), strict=True)) == EDGES


def test_no_row_of_valid_or_test_is_in_the_graph():
    """Whatever these rows hold, the graph is the same."""
    train, others = build_graph(make_dataset()), []
    for fill in (1, 3, 7):
        rec = [row if i in REC_TRAIN else (row[0], fill) for i, row in enumerate(REC)]
        search = [row if i in SEARCH_TRAIN else (row[0], (fill,)) for i, row in enumerate(SEARCH)]
        others.append(build_graph(make_dataset(rec, search)))
    for other in others:
        for name, array in train.items():
            np.testing.assert_array_equal(array, other[name], err_msg=name)


def test_propagation_equals_dense_algebra(graph, params):
    matrix, x = dense_matrix(), joined(params)
    np.testing.assert_allclose(smooth(jnp.asarray(x, jnp.float32), graph), matrix @ x, atol=1e-6)
    mean = (x + matrix @ x + matrix @ matrix @ x) / 3
    users, items = propagate(params, graph)
    assert users.shape == (USERS + 1, WIDTH)
    np.testing.assert_allclose(np.concatenate([users, items]), mean, atol=1e-6)
    one = {**graph, "graph_mix": jnp.asarray(build_graph(make_dataset(), 1)["graph_mix"])}
    both = np.concatenate(propagate(params, one))
    np.testing.assert_allclose(both, (x + matrix @ x) / 2, atol=1e-6)


def test_gradients_equal_those_of_the_dense_form(graph, params):
    matrix = jnp.asarray(dense_matrix(), jnp.float32)
    weight = jax.random.normal(jax.random.key(1), (len(matrix), WIDTH))

    def sparse_form(params):
        return jnp.sum(weight * jnp.sin(jnp.concatenate(propagate(params, graph))))

    def dense_form(params):
        x = jnp.concatenate([params["cf"]["user"], params["cf"]["item"]])
        return jnp.sum(weight * jnp.sin((x + matrix @ x + matrix @ matrix @ x) / 3))

    ours, theirs = jax.grad(sparse_form)(params), jax.grad(dense_form)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), ours, theirs)


def make_batch(**changes):
    batch = {
        "user": jnp.array([1, 2, 5, 1]),
        "target": jnp.array([2, 5, 5, 1]),
        "negatives": jnp.array([[3, 8], [1, 4], [2, 7], [6, 4]]),
        "valid": jnp.array([1, 1, 1, 0], jnp.uint8),
    }
    return batch | changes


def test_loss_by_hand(graph, params):
    x = joined(params)
    matrix = dense_matrix()
    z = (x + matrix @ x + matrix @ matrix @ x) / 3
    items, base = z[USERS + 1 :], x[USERS + 1 :]
    losses, squares = [], []
    for user, target, negatives in ((1, 2, (3, 8)), (2, 5, (1, 4)), (5, 5, (2, 7))):
        margins = [z[user] @ (items[n] - items[target]) for n in negatives]
        losses.append(np.mean(np.log1p(np.exp(margins))))
        square = (x[user] ** 2).sum() + (base[target] ** 2).sum()
        squares.append(square + np.mean([(base[n] ** 2).sum() for n in negatives]))
    loss, parts = bpr_loss(params, graph, make_batch(), l2=0.1)
    np.testing.assert_allclose(parts["bpr"], np.mean(losses), rtol=1e-5)
    np.testing.assert_allclose(loss, np.mean(losses) + 0.05 * np.mean(squares), rtol=1e-5)
    # What stands in a padding row does not matter.
    other = make_batch(user=jnp.array([1, 2, 5, 3]), target=jnp.array([2, 5, 5, 8]))
    assert bpr_loss(params, graph, other, l2=0.1)[0] == loss


def test_loss_has_the_gradient_of_its_values(graph, params):
    check_grads(
        lambda p: bpr_loss(p, graph, make_batch(), l2=0.1)[0],
        (params,),
        order=1,
        modes=["rev"],
        atol=1e-2,
        rtol=1e-2,
    )


def test_padding_stays_zero(graph, params):
    grads = jax.grad(lambda p: bpr_loss(p, graph, make_batch())[0])(params)
    for table, grad in zip(jax.tree.leaves(params), jax.tree.leaves(grads), strict=True):
        assert not table[0].any()
        assert not grad[0].any()
    users, items = propagate(params, graph)
    assert not users[0].any()
    assert not items[0].any()


def test_exported_table(graph, params):
    table = np.asarray(export_table(params, graph))
    assert table.shape == (ITEMS + 1, WIDTH)
    known = sorted({item for _, item in EDGES})
    np.testing.assert_allclose(np.linalg.norm(table[known], axis=1), np.sqrt(WIDTH), rtol=1e-5)
    unknown = np.setdiff1d(np.arange(ITEMS + 1), known)
    assert unknown.tolist() == [0, 3, 6, 8]  # items of valid and test rows alone are unknown
    assert not table[unknown].any()
    items = np.asarray(propagate(params, graph)[1])[known]
    directions = items / np.linalg.norm(items, axis=1, keepdims=True)
    np.testing.assert_allclose(table[known], np.sqrt(WIDTH) * directions, rtol=1e-5)
    np.testing.assert_array_equal(export_table(params, graph, "layer0"), params["cf"]["item"])
    grads = jax.grad(lambda p: jnp.sum(export_table(p, graph) ** 3))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_candidates_and_catalogue_have_the_same_scores(graph, params):
    batch = make_batch()
    listed = score(params, graph, batch)
    everything = score_catalogue(params, graph, batch, jnp.arange(1, ITEMS + 1))
    columns = jnp.concatenate([batch["target"][:, None], batch["negatives"]], axis=1) - 1
    expected = jnp.take_along_axis(everything, columns, axis=1)
    np.testing.assert_allclose(listed, expected, rtol=1e-5, atol=1e-7)
    later = retrieve({}, export_vectors(params, graph), batch, jnp.arange(1, ITEMS + 1))
    np.testing.assert_allclose(later, everything, rtol=1e-6)
    users, items = propagate(params, graph)
    np.testing.assert_allclose(everything, users[batch["user"]] @ items[1:].T, rtol=1e-5, atol=1e-7)


def test_tables_begin_small(params):
    big = init_lightgcn(jax.random.key(2), 400, 300, 16)["cf"]
    assert abs(float(big["user"][1:].std()) - 0.1) < 0.01
    assert abs(float(big["item"][1:].std()) - 0.1) < 0.01
    assert params["cf"]["user"].shape == (USERS + 1, WIDTH)
