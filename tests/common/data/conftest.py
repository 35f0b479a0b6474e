"""Small logs made of arrays, and datasets around them, for tests of timelines and batches."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from common.data.dataset import Dataset
from common.data.events import RecEvents, SearchEvents, make_searches


def _rec_events(rows: list[tuple[int, int, int, int, int]]) -> RecEvents:
    """Rows (user, ts, seq, item, label), sorted here."""
    table = np.array(sorted(rows), np.int64).reshape(-1, 5)
    user, ts, seq, item, label = table.T
    return RecEvents(
        user.astype(np.int32),
        ts,
        seq.astype(np.int32),
        item.astype(np.int32),
        label.astype(np.uint8),
    )


def _search_events(rows: list[tuple[int, int, int, int, tuple]]) -> SearchEvents:
    """Rows (user, ts, seq, query, clicked items), sorted here.

    A click is an item, clicked at the search's own time, or a pair (item, ts).
    """
    rows = sorted(rows)
    user, ts, seq, query = np.array([row[:4] for row in rows], np.int64).reshape(-1, 4).T
    clicks = [
        [click if isinstance(click, tuple) else (click, row[1]) for click in row[4]] for row in rows
    ]
    listed = np.array([pair for row in clicks for pair in row], np.int64).reshape(-1, 2)
    return make_searches(
        user.astype(np.int32),
        ts,
        seq.astype(np.int32),
        query.astype(np.int32),
        np.cumsum([0, *map(len, clicks)]),
        listed[:, 0].astype(np.int32),
        listed[:, 1],
    )


def _random_log(
    seed: int, n_users: int = 4, n_items: int = 12, n_events: int = 60, n_times: int = 8
) -> tuple[RecEvents, SearchEvents]:
    """A log full of ties; the last user has no event; some searches copy a rec event's key, some
    clicks come later than their search."""
    rng, pauses = (np.random.default_rng((seed, *more)) for more in ((), (1,)))
    seqs: dict[tuple[int, int], int] = {}
    rec, search = [], []
    for _ in range(n_events):
        user, ts = int(rng.integers(1, max(n_users, 2))), 1_000 * int(rng.integers(n_times))
        seq = seqs[user, ts] = seqs.get((user, ts), -1) + 1
        item = int(rng.integers(1, n_items + 1))
        kind = rng.choice(["rec", "shown", "search", "copy"], p=[0.45, 0.15, 0.3, 0.1])
        if kind != "search":
            rec.append((user, ts, seq, item, int(kind != "shown")))
        if kind == "search":
            clicked = tuple(
                (item, ts + int(pauses.choice([0, 0, 1, 1_000, 2_500, 5_000])))
                for item in rng.integers(1, n_items + 1, rng.integers(0, 4)).tolist()
            )
            search.append((user, ts, seq, int(rng.integers(1, 9)), clicked))
        elif kind == "copy":
            search.append((user, ts, seq, int(rng.integers(1, 9)), (item,)))
    return _rec_events(rec), _search_events(search)


def _make_dataset(
    rec: RecEvents,
    search: SearchEvents,
    *,
    history_order: str = "time",
    n_items: int | None = None,
    rows: dict[tuple[str, str], np.ndarray] | None = None,
) -> Dataset:
    """A dataset around two event tables; without `rows`, every positive is a train row."""
    empty = np.zeros(0, np.int64)
    train = {
        ("rec", "train"): np.flatnonzero(rec.positive),
        ("search", "train"): np.flatnonzero(search.positive),
    }
    parts = {(task, part): empty for task in ("rec", "search") for part in ("valid", "test")}
    largest = max(int(rec.item.max(initial=1)), int(search.click_item.max(initial=1)))
    return Dataset(
        path=Path("."),
        manifest={"name": "made-up", "sha256": "ab" * 32},
        split="by_hand",
        history_order=history_order,
        n_users=max(int(rec.user.max(initial=1)), int(search.user.max(initial=1))) + 1,
        n_items=n_items or largest,
        n_queries=9,
        n_tokens=0,
        rec=rec,
        search=search,
        rows=parts | train | (rows or {}),
        query_tokens=np.zeros((10, 1), np.int32),
        item_categories=np.zeros(((n_items or largest) + 1, 4), np.int32),
        load_lists=lambda task, part: {},
    )


@pytest.fixture(scope="session")
def rec_events() -> Callable[..., RecEvents]:
    return _rec_events


@pytest.fixture(scope="session")
def search_events() -> Callable[..., SearchEvents]:
    return _search_events


@pytest.fixture(scope="session")
def random_log() -> Callable[..., tuple[RecEvents, SearchEvents]]:
    return _random_log


@pytest.fixture(scope="session")
def make_dataset() -> Callable[..., Dataset]:
    return _make_dataset
