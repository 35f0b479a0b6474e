"""A small GenSR with hand-made constants: 9 items, 3 queries, a vocabulary of 20 tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gensr_jax.configs.ablations import PUBLISHED
from gensr_jax.model import GenSR
from gensr_jax.settings import LossSettings, ModelSettings
from gensr_jax.t5 import SIZES
from gensr_jax.tune import tune_terms

ITEMS, WIDTH, YES, NO = 9, 8, 3, 4
SMALL = {
    "width": 16, "heads": 2, "head_width": 8, "ff_width": 16, "encoder_layers": 1,
    "decoder_layers": 1,
}  # fmt: skip


class Case(NamedTuple):
    """A model with parameters, and a batch of one rec list and two search lists."""

    module: GenSR
    params: Any
    constants: dict[str, jax.Array]
    batch: dict[str, jax.Array]


def make_batch() -> dict[str, jax.Array]:
    rows = {
        "task": [0, 1, 1],
        "valid": [1, 1, 1],
        "user": [1, 2, 3],
        "target": [4, 5, 9],
        "query": [0, 1, 2],
        "negatives": [[1, 2], [3, 8], [1, 6]],
        "rec_item": [[1, 2, 3], [6, 0, 0], [7, 2, 0]],
        "rec_mask": [[1, 1, 1], [1, 0, 0], [1, 1, 0]],
        "search_query": [[1, 0], [2, 3], [1, 2]],
        "search_mask": [[1, 0], [1, 1], [1, 1]],
        "search_click": [[[5], [0]], [[0], [7]], [[8], [4]]],
        "order": [[3, 2, 0, 1, 5], [2, 5, 5, 1, 0], [3, 0, 5, 2, 1]],
    }
    return {name: jnp.asarray(np.array(value, np.int32)) for name, value in rows.items()}


def make_constants(length: int = 16) -> dict[str, jax.Array]:
    """Prompts: text, four slots, the query, text, pads."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(ITEMS + 1, WIDTH)).astype(np.float32)
    head = rng.integers(5, 20, (ITEMS + 1, 3))
    full = rng.integers(5, 20, (ITEMS + 1, 5))
    table[0], head[0], full[0] = 0, 0, 0
    head[8], full[8] = 0, 0  # an item without a title
    queries = [[], [10, 11], [12], []]
    tok, slot = np.zeros((4, length), np.int32), np.full((4, length), -1, np.int8)
    for row, query in enumerate(queries):
        line = [5, None, 6, None, 7, None, 8, None, *query, 9, 1]
        tok[row, : len(line)] = [token or 0 for token in line]
        slot[row, [1, 3, 5, 7]] = range(4)
    return {
        "cf_table": jnp.asarray(table),
        "title_head": jnp.asarray(head, jnp.int32),
        "title_full": jnp.asarray(full, jnp.int32),
        "prompt_tok": jnp.asarray(tok),
        "prompt_slot": jnp.asarray(slot),
        "prompt_mask": jnp.asarray((tok != 0) | (slot >= 0)),
        "word_rms": jnp.float32(1.0),
    }


def make_case(init: Any = jax.jit, sizes: Mapping[str, Any] = SMALL, **switches: Any) -> Case:
    """init(function of a key) -> function that makes the parameters; sizes: of T5."""
    full = switches.get("head") == "full"
    t5 = replace(SIZES["mini"], vocab_size=20, full_head=full, **sizes)
    settings = ModelSettings(
        t5=t5, n_items=ITEMS, history_length=4, title_length=3, cf_width=WIDTH, yes=YES, no=NO,
        **switches,
    )  # fmt: skip
    module, constants, batch = GenSR(settings), make_constants(), make_batch()

    def touch_all(model: GenSR) -> Any:
        return tune_terms(model, LossSettings(), constants, batch, deterministic=True)

    params = init(lambda key: module.init(key, method=touch_all)["params"])(jax.random.key(0))
    return Case(module, params, constants, batch)


def draw_like(init: Any) -> Any:
    """The function of a key that draws every parameter at random, biases too; compiles nothing."""
    rng = np.random.default_rng(0)

    def draw(path: Any, leaf: Any) -> jax.Array:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name.endswith("scale"):
            return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), jnp.float32)
        wide = name.endswith(("shared", "relative_bias"))
        # The last two axes: T5's layers are stacked along a first one.
        spread = 1.0 if wide or not leaf.shape else leaf.shape[-2:][0] ** -0.5
        return jnp.asarray(spread * rng.normal(size=leaf.shape), jnp.float32)

    return lambda key: jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init, key))


@pytest.fixture(scope="session")
def drawn():
    """drawn(changed sizes of T5, **switches): as `make`, with every parameter drawn at random
    instead of initialised; nothing compiles."""

    def case(sizes: Mapping[str, Any] = MappingProxyType({}), **switches: Any) -> Case:
        return make_case(draw_like, SMALL | dict(sizes), **switches)

    return case


@pytest.fixture(scope="session")
def make():
    """`make_case`, each set of switches made once."""
    known: dict[Any, Case] = {}

    def case(**switches: Any) -> Case:
        key = tuple(sorted(switches.items()))
        if key not in known:
            known[key] = make_case(**switches)
        return known[key]

    return case


@pytest.fixture(scope="session")
def released():
    """The switches of the released computation."""
    named = PUBLISHED.items()
    return {key[6:]: value for key, value in named if key.startswith("model.")}


@pytest.fixture(scope="session")
def published(make, released):
    return make(**released)


@pytest.fixture
def text_dataset(tmp_path):
    """text_dataset(...): what the vocabulary needs of a dataset with 3 items and 3 queries."""

    def write(
        titles=("Red pot", None, "Cup, blue"),
        text_tok=([3, 2], None, [1, 9, 2]),
        texts=("red pot", "cup", None),
        tok=([3, 2], [1], [1, 3]),
        words=("cup", "pot", "red", *"abcdef"),
    ):
        lists = pa.list_(pa.int32())
        tables = {
            "items": {
                "title": pa.array(titles, pa.string()),
                "text_tok": pa.array(text_tok, lists),
            },
            "queries": {"text": pa.array(texts, pa.string()), "tok": pa.array(tok, lists)},
            "tokens": {"word": pa.array(words, pa.string())},
        }
        for name, columns in tables.items():
            pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
        query_tokens = np.zeros((len(tok) + 1, 3), np.int32)
        for row, ids in enumerate(tok, 1):
            query_tokens[row, : len(ids)] = ids
        return SimpleNamespace(path=tmp_path, n_items=len(titles), query_tokens=query_tokens)

    return write


@pytest.fixture
def loss_settings() -> LossSettings:
    """The defaults."""
    return LossSettings()
