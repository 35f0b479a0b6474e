"""A small random model and batch for the tests of LCR."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.view import candidate_items
from lcr_jax.model import LCR
from lcr_jax.settings import ModelSettings

M, N, P, ITEMS, QUERIES, WORDS = 5, 4, 2, 40, 12, 9

SETTINGS = ModelSettings(
    n_items=ITEMS,
    n_tokens=WORDS,
    n_categories=6,
    n_users=10,
    rec_length=M,
    search_length=N,
    width=8,
    heads=2,
    steps=2,
)


def make_constants(seed: int = 0) -> dict[str, jax.Array]:
    rng = np.random.default_rng(seed)
    words = rng.integers(1, WORDS + 1, (QUERIES + 1, 3))
    words[0] = 0
    categories = rng.integers(0, 7, (ITEMS + 1, 2))
    categories[0] = 0
    return {
        "query_tokens": jnp.asarray(words, jnp.int32),
        "item_categories": jnp.asarray(categories, jnp.int32),
        "log_popularity": jnp.asarray(np.log(np.full(ITEMS + 1, 1 / ITEMS)), jnp.float32),
    }


def make_batch(
    rec: list[int], searches: list[int], seed: int = 0, negatives: int = 3
) -> dict[str, jax.Array]:
    """Rows with the given numbers of rec events and searches, pads at the end."""
    rng = np.random.default_rng(seed)
    rows = len(rec)
    rec_mask = np.arange(M) < np.array(rec)[:, None]
    search_mask = np.arange(N) < np.array(searches)[:, None]
    real = np.concatenate([rec_mask, search_mask], axis=1)
    order = np.full((rows, M + N), M + N)
    for row in range(rows):
        slots = np.flatnonzero(real[row])
        order[row, slots] = rng.permutation(len(slots))
    clicks = rng.integers(1, ITEMS + 1, (rows, N, P)) * search_mask[..., None]
    clicks[:, 0] = 0  # the oldest search has no click
    batch = {
        "task": np.zeros(rows, np.uint8),
        "valid": np.ones(rows, np.uint8),
        "user": rng.integers(1, 11, rows),
        "target": rng.integers(1, ITEMS + 1, rows),
        "query": np.zeros(rows, np.int32),
        "negatives": rng.integers(1, ITEMS + 1, (rows, negatives)),
        "rec_item": rng.integers(1, ITEMS + 1, (rows, M)) * rec_mask,
        "rec_mask": rec_mask.astype(np.uint8),
        "search_query": rng.integers(1, QUERIES + 1, (rows, N)) * search_mask,
        "search_mask": search_mask.astype(np.uint8),
        "search_click": clicks,
        "order": order,
    }
    return {
        k: jnp.asarray(v, jnp.uint8 if v.dtype == np.uint8 else jnp.int32) for k, v in batch.items()
    }


def run_module(module: LCR, params: Any, constants: Any, batch: Any) -> Any:

    def method(m: LCR) -> Any:
        lookup = m.lookup(batch, constants)
        encoded = m.encode(batch, lookup, True)
        return m.score(encoded, lookup.items(candidate_items(batch))), encoded.reasoning

    return module.apply({"params": params}, method=method)


def square_scores(params: Any, module: LCR, constants: Any, batch: Any) -> jax.Array:
    return jnp.sum(run_module(module, params, constants, batch)[0] ** 2)


run_compiled = jax.jit(run_module, static_argnums=0)
differentiate = jax.jit(jax.grad(square_scores), static_argnums=1)


class Model(NamedTuple):
    """A module with parameters drawn at random, biases and scales too."""

    module: LCR
    params: Any
    constants: dict[str, jax.Array]

    def run(self, batch: dict[str, jax.Array], params: Any = None) -> Any:
        """(scores [B, C], reasoning) of a batch, without dropout."""
        params = self.params if params is None else params
        return run_compiled(self.module, params, self.constants, batch)

    def gradient(self, batch: dict[str, jax.Array]) -> Any:
        """Of the sum of all squared scores, by parameter."""
        return differentiate(self.params, self.module, self.constants, batch)


@cache
def make_model(seed: int = 0, **changes: Any) -> Model:
    """Only the shapes come from `init`: compiling it takes longer than a test."""
    module = LCR(dataclasses.replace(SETTINGS, **changes))
    constants = make_constants()
    batch = make_batch([3, 2], [2, 3])
    shapes = jax.eval_shape(
        module.init, jax.random.key(seed), batch, constants, candidate_items(batch)
    )["params"]
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> jax.Array:
        center = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(rng.normal(center, 0.4, leaf.shape), leaf.dtype)

    return Model(module, jax.tree_util.tree_map_with_path(draw, shapes), constants)


@pytest.fixture
def build_model():
    return make_model


@pytest.fixture
def build_batch():
    return make_batch
