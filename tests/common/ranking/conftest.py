"""A small random dataset with both services, repeats and ties in time, and a dot-product model."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from common.data.candidates import (
    count_items,
    draw_popularity_lists,
    draw_uniform_lists,
    ever_items,
)
from common.data.dataset import CandidateList, Dataset
from common.data.events import PARTS, TASKS, RecEvents, make_searches
from common.data.hashing import array_sha256
from common.data.splits import make_split
from common.data.view import View, candidate_items
from common.training.task import Task

USERS, ITEMS, QUERIES, WIDTH, NEGATIVES = 50, 600, 9, 24, 12


def make_events(seed, low_item=1):
    """Random events; items are drawn from `low_item`..60 so that users take some twice."""
    rng = np.random.default_rng(seed)
    rec, search, clicks = [], [], []
    for user in range(1, USERS + 1):
        times = np.sort(rng.integers(0, 30, size=16))
        for seq, (ts, is_search) in enumerate(zip(times, rng.random(16) < 0.4, strict=True)):
            if is_search:
                clicked = rng.choice(np.arange(low_item, 61), rng.integers(0, 3), replace=False)
                search.append((user, ts, seq, rng.integers(1, QUERIES + 1)))
                clicks.append(clicked)
            else:
                label = rng.random() < 0.9
                rec.append((user, ts, seq, rng.integers(low_item, 61), label))
    user, ts, seq, item, label = np.array(rec).T
    rec = RecEvents(np.int32(user), np.int64(ts), np.int32(seq), np.int32(item), np.uint8(label))
    user, ts, seq, query = np.array(search).T
    search = make_searches(
        np.int32(user),
        np.int64(ts),
        np.int32(seq),
        np.int32(query),
        np.cumsum([0, *map(len, clicks)]),
        np.concatenate(clicks).astype(np.int32),
    )
    return rec, search


def make_dataset(seed=0, **changes):
    rec, search = make_events(seed)
    rows = make_split("leave_one_out_joint", rec, search, "time").rows
    ever = ever_items(rec, search, USERS)
    lists = {}
    for task, events in zip(TASKS, (rec, search), strict=True):
        counts = count_items(events.target[rows[task, "train"]], ITEMS)
        for part in PARTS[1:]:
            chosen = rows[task, part]
            drawn = (chosen, events.target[chosen], events.user[chosen], ever)
            uniform = draw_uniform_lists(task, *drawn, ITEMS, 0, NEGATIVES)
            popular = draw_popularity_lists(task, *drawn, counts, 0, NEGATIVES)
            lists[task, part] = {
                name: CandidateList(items, array_sha256(items))
                for name, items in (("uniform12", uniform), ("popularity12", popular))
            }
    fields = {
        "path": Path("tiny"),
        "manifest": {"name": "tiny", "sha256": "ab" * 32},
        "split": "leave_one_out_joint",
        "history_order": "time",
        "n_users": USERS,
        "n_items": ITEMS,
        "n_queries": QUERIES,
        "n_tokens": 0,
        "rec": rec,
        "search": search,
        "rows": rows,
        "query_tokens": np.zeros((QUERIES + 1, 1), np.int32),
        "item_categories": np.zeros((ITEMS + 1, 4), np.int32),
        "load_lists": lambda task, part: lists[task, part],
    }
    return Dataset(**fields | changes)


def make_task(score=None, score_catalogue=None, **changes):
    """A model that adds up a user's, a query's and the last items' vectors."""

    def encode(params, batch):
        vector = params["user"][batch["user"]] + params["query"][batch["query"]]
        return vector + params["item"][batch["rec_item"]].sum(axis=1)

    def score_list(params, constants, batch):
        items = params["item"][candidate_items(batch)]
        return jnp.einsum("bd,bcd->bc", encode(params, batch), items)

    def score_items(params, constants, batch, items):
        return encode(params, batch) @ params["item"][items].T

    fields = {
        "name": "dot",
        "tasks": TASKS,
        "view": View(rec_length=4, search_length=3, clicks=2),
        "init": lambda key, batch: ({}, {}),
        "stages": (),
        "score": score or score_list,
        "score_catalogue": score_catalogue or score_items,
    }
    return Task(**fields | changes)


def make_params(seed=0, whole=False):
    """Random tables; every third item repeats the one before it, so that scores tie exactly.

    whole: entries are small integers, for which no product is rounded.
    """
    rng = np.random.default_rng(seed)
    params = {}
    for name, size in (("user", USERS), ("query", QUERIES), ("item", ITEMS)):
        table = rng.normal(size=(size + 1, WIDTH))
        params[name] = np.round(table) if whole else table
    params["item"][3::3] = params["item"][2:-1:3]
    for table in params.values():
        table[0] = 0  # padding adds nothing
    return {name: table.astype(np.float32) for name, table in params.items()}


@pytest.fixture(scope="session")
def dataset():
    return make_dataset()


@pytest.fixture(scope="session")
def dot():
    """The makers of this file, for tests that need other settings."""

    class Makers:
        dataset, task, params = make_dataset, make_task, make_params
        events, items, negatives = make_events, ITEMS, NEGATIVES

    return Makers
