"""Item-kNN: five users worked by hand, and a brute force on random events."""

from __future__ import annotations

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from baselines_jax import build
from baselines_jax.configs import item_knn_demo
from baselines_jax.item_knn import find_neighbours
from common.errors import InputError

# User 1 has items 1, 2, 3; user 2 has 1, 2; user 3 has 1, 4; user 4 has 2, 3; user 5 has 5.
USERS = np.array([1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 1])
ITEMS = np.array([1, 2, 3, 1, 2, 1, 4, 2, 3, 5, 1])  # the last event repeats (1, 1)
SIM = {  # |U_1| = 3, |U_2| = 3, |U_3| = 2, |U_4| = |U_5| = 1
    (1, 2): 2 / 3,
    (1, 3): 1 / math.sqrt(6),
    (1, 4): 1 / math.sqrt(3),
    (2, 3): 2 / math.sqrt(6),
}


def sim(i, j):
    return SIM.get((min(i, j), max(i, j)), 0.0)


def densify(found, n_items):
    table = np.zeros((n_items + 1, n_items + 1))
    for own, (near, cosine) in enumerate(zip(*found, strict=True)):
        np.add.at(table[own], near, cosine)
    return table


@pytest.fixture
def dataset():
    """Training events as above, and one later event of user 2 that must not count."""
    return SimpleNamespace(
        n_items=5,
        rec=SimpleNamespace(user=np.append(USERS, 2), item=np.append(ITEMS, 5)),
        rows={("rec", "train"): np.arange(len(USERS))},
    )


@pytest.fixture
def batch():
    """Histories 3; 4, 1; nothing; 2, 3, 1 (oldest first)."""
    items = jnp.array([[3, 0, 0], [4, 1, 0], [0, 0, 0], [2, 3, 1]])
    return {
        "rec_item": items,
        "rec_mask": (items != 0).astype(jnp.uint8),
        "target": jnp.array([1, 2, 3, 4]),
        "negatives": jnp.array([[2, 5], [3, 0], [1, 5], [5, 2]]),
    }


def make_config(**changes):
    config = item_knn_demo.get_config()
    config.knn.update(changes)
    return config


def test_neighbours_by_hand():
    dense = densify(find_neighbours(USERS, ITEMS, 5, 200), 5)
    expected = [[sim(i, j) for j in range(6)] for i in range(6)]
    np.testing.assert_allclose(dense, expected, rtol=1e-6)


def test_the_nearest_are_kept_and_equal_ones_by_id():
    found = find_neighbours(USERS, ITEMS, 5, 1)
    assert found.items[1:5, 0].tolist() == [2, 3, 2, 1]
    # Items 2, 3 and 4 were each bought with item 1 by the same single user.
    tied = find_neighbours(np.ones(4, int), np.array([4, 3, 2, 1]), 4, 2)
    assert tied.items.tolist() == [[0, 0], [2, 3], [1, 3], [1, 2], [1, 2]]


def test_neighbours_equal_a_brute_force(monkeypatch):
    monkeypatch.setattr("baselines_jax.item_knn._BLOCK", 50)  # several blocks
    rng = np.random.default_rng(0)
    users, items = rng.integers(1, 15, 120), rng.integers(1, 21, 120)
    dense = densify(find_neighbours(users, items, 20, 200), 20)
    buyers = [set(users[items == item]) for item in range(21)]
    for i in range(1, 21):
        for j in range(1, 21):
            both = len(buyers[i] & buyers[j]) if i != j else 0
            expected = both / math.sqrt(len(buyers[i]) * len(buyers[j])) if both else 0
            assert dense[i, j] == pytest.approx(expected, rel=1e-6), (i, j)


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_scores_by_hand(dataset, batch, decay):
    task = build(make_config(decay=decay), dataset)
    params, constants = task.init(jax.random.key(0), batch)
    histories = [[3], [4, 1], [], [2, 3, 1]]
    expected = [
        [
            sum(sim(i, j) * decay**recency for recency, j in enumerate(reversed(history)))
            for i in range(1, 6)
        ]
        for history in histories
    ]
    items = jnp.arange(1, 6)
    catalogue = np.asarray(jax.jit(task.score_catalogue)(params, constants, batch, items))
    np.testing.assert_allclose(catalogue, expected, rtol=1e-6)
    scores = np.asarray(jax.jit(task.score)(params, constants, batch))
    candidates = np.concatenate([batch["target"][:, None], batch["negatives"]], axis=1)
    for row, column in np.ndindex(scores.shape):
        item = candidates[row, column]
        assert scores[row, column] == (catalogue[row, item - 1] if item else -np.inf)


def test_any_part_of_the_catalogue_in_any_order(dataset, batch):
    task = build(make_config(), dataset)
    params, constants = task.init(jax.random.key(0), batch)
    whole = task.score_catalogue(params, constants, batch, jnp.arange(1, 6))
    part = task.score_catalogue(params, constants, batch, jnp.array([4, 2, 2, 0]))
    np.testing.assert_array_equal(part[:, :3], whole[:, jnp.array([3, 1, 1])])
    np.testing.assert_array_equal(part[:, 3], 0)


def test_only_as_many_events_as_the_window_are_asked_for(dataset):
    task = build(make_config(window=2), dataset)
    assert (task.view.rec_length, task.stages, task.explain) == (2, (), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"neighbours": 0}, r"config\.knn\.neighbours = 0"),
        ({"window": 0}, r"config\.knn\.window = 0"),
        ({"decay": 0.0}, r"config\.knn\.decay = 0\.0"),
    ],
)
def test_settings_that_cannot_be_are_named(change, message, dataset):
    with pytest.raises(InputError, match=message):
        build(make_config(**change), dataset)


def test_it_has_no_ablations():
    with pytest.raises(InputError, match="no_gate"):
        item_knn_demo.get_config("no_gate")
