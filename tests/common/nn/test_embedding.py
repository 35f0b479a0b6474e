"""The input layer by hand, and scores in blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.nn.blocks import score_blocks
from common.nn.embedding import Embedding, Lookup, join_levels

CONSTANTS = {
    "item_categories": jnp.array([[0, 0], [1, 3], [0, 3], [2, 0]]),
    "query_tokens": jnp.array([[0, 0], [2, 1], [1, 0], [0, 0]]),
}
QUERIES, CLICKS = jnp.array([[1, 3, 0]]), jnp.array([[[2, 3], [0, 0], [0, 0]]])


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    tables = {"item_id": 4, "word": 3, "category": 4}
    params = {name: {"embedding": rng.normal(size=(n, 2))} for name, n in tables.items()}
    for name, width in (("item_map", 4), ("query_map", 2)):
        params[name] = {"kernel": rng.normal(size=(width, 2)), "bias": rng.normal(size=2)}
    return jax.tree.map(lambda leaf: leaf.astype(np.float32), params)


def search(params, requested):
    def run(embedding):
        return Lookup(embedding, CONSTANTS, requested).searches(QUERIES, CLICKS)

    return Embedding(2, n_items=3, n_tokens=2, n_categories=3).apply({"params": params}, method=run)


def test_a_search_is_its_query_and_the_mean_of_its_clicks(params):
    ids, words, levels = (params[n]["embedding"] for n in ("item_id", "word", "category"))

    def look(name, parts):
        return np.tanh(np.concatenate(parts) @ params[name]["kernel"] + params[name]["bias"])

    second = look("item_map", [ids[2], levels[3]])  # one of its levels is a pad
    third = look("item_map", [ids[3], levels[2]])
    expected = [
        look("query_map", [(words[2] + words[1]) / 2]) + (second + third) / 2,
        np.tanh(params["query_map"]["bias"]),  # a query without words, and without a click
        np.zeros(2),  # no search
    ]
    np.testing.assert_allclose(search(params, 1)[0], expected, rtol=1e-5, atol=1e-6)


def test_pooled_tables_equal_vectors_by_occurrence(params):
    """Mapping each distinct id once is exact."""
    np.testing.assert_allclose(search(params, 1), search(params, 10**6), rtol=1e-6, atol=1e-6)


def test_category_levels_share_one_table():
    joined = join_levels(np.array([[0, 0], [1, 2], [3, 0], [2, 1]]))
    np.testing.assert_array_equal(joined, [[0, 0], [1, 5], [3, 0], [2, 4]])


@pytest.mark.parametrize("size", [1, 3, 5, 8])
def test_blocks_say_the_same_for_shared_items_and_for_each_rows_own(size):
    items = jnp.array([4, 1, 3, 5, 2])
    rows = jnp.array([10, 20])
    shared = score_blocks(lambda ids: rows[:, None] + ids, items, size)
    np.testing.assert_array_equal(shared, [[14, 11, 13, 15, 12], [24, 21, 23, 25, 22]])
    own = score_blocks(lambda ids: rows[:, None] + ids, jnp.stack([items, items[::-1]]), size)
    np.testing.assert_array_equal(own, [[14, 11, 13, 15, 12], [22, 25, 23, 21, 24]])
