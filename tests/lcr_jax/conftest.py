"""A small random model and batch for the tests of LCR."""

from __future__ import annotations

import dataclasses
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


class Model(NamedTuple):
    """A module with parameters drawn at random, biases and scales too."""

    module: LCR
    params: Any
    constants: dict[str, jax.Array]

    def run(self, batch: dict[str, jax.Array], params: Any = None) -> Any:
        """(scores [B, C], reasoning) of a batch, without dropout."""

        def method(m: LCR) -> Any:
            lookup = m.lookup(batch, self.constants)
            encoded = m.encode(batch, lookup, True)
            return m.score(encoded, lookup.items(candidate_items(batch))), encoded.reasoning

        return self.module.apply(
            {"params": self.params if params is None else params}, method=method
        )


def make_model(seed: int = 0, **changes: Any) -> Model:
    module = LCR(dataclasses.replace(SETTINGS, **changes))
    constants = make_constants()
    batch = make_batch([3, 2], [2, 3])
    params = module.init(jax.random.key(seed), batch, constants, candidate_items(batch))["params"]
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    noisy = [
        leaf + 0.3 * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return Model(module, jax.tree.unflatten(tree, noisy), constants)


@pytest.fixture
def build_model():
    return make_model


@pytest.fixture
def build_batch():
    return make_batch
