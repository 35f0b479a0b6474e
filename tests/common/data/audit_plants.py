"""Leaks planted in a clean data set, in memory: what the audit has to find, and on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.data.audit import measure_dataset
from common.data.audit_faults import Found, read_log
from common.data.audit_limits import Measure, judge
from common.data.audit_lists import ItemFacts, check_lists
from common.data.audit_splits import check_rows
from common.data.dataset import CandidateList, Dataset
from common.data.events import RecEvents, make_searches
from common.data.folder import load_dataset
from common.data.hashing import draw_words
from common.data.schema import TABLES, conform_table

Change = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
HOUR, DAY = 3_600_000, 86_400_000


class Scene(NamedTuple):
    """A data set with its tables; a plant changes a copy."""

    dataset: Dataset
    tables: Mapping[str, pa.Table]

    def targets(self, task: str = "rec", part: str = "test") -> tuple[np.ndarray, ...]:
        """Rows, users and targets of a part."""
        rows, events = self.dataset.rows[task, part], self.dataset.events(task)
        return rows, events.user[rows], events.target[rows]

    def with_column(self, table: str, name: str, values: object) -> Scene:
        """Another column in place of one, or a new one."""
        old, column = self.tables[table], pa.array(values)
        if name in old.column_names:
            place = old.column_names.index(name)
            field = old.schema.field(name)
            new = old.set_column(place, name, column.cast(field.type))
        else:
            new = old.append_column(name, column)
        return self._replace(tables={**self.tables, table: new})

    def column(self, table: str, name: str) -> np.ndarray:
        """A column of numbers that is to be changed; 0 where it is null."""
        return np.array(pc.fill_null(self.tables[table][name], 0).to_numpy())

    def with_lists(
        self, change: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
    ) -> Scene:
        """change(lists, targets, users) -> lists, for the uniform lists of every part."""
        data = self.dataset

        def load_lists(task: str, part: str) -> dict[str, CandidateList]:
            _, users, targets = self.targets(task, part)
            lists = data.load_lists(task, part)
            return {
                name: CandidateList(change(stored.items.copy(), targets, users), "")
                for name, stored in lists.items()
                if name.startswith("uniform")
            }

        return self._replace(dataset=dataclasses.replace(data, load_lists=load_lists))


def load_scene(folder: Path, split: str = "leave_one_out_joint") -> Scene:
    """A dataset folder as a scene."""
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in TABLES}
    tables = {name: conform_table(name, table) for name, table in tables.items()}
    return Scene(load_dataset(folder, split, verify=False), tables)


def measure_scene(scene: Scene) -> tuple[list[Measure], Found]:
    """Every figure of L17 to L23, and what is said of them."""
    log = read_log(scene.dataset, scene.tables)
    _, rows = check_rows(log)
    items = ItemFacts(log, rows)
    lists = {
        (task, part): scene.dataset.load_lists(task, part)
        for task in ("rec", "search")
        for part in ("valid", "test")
    }
    _, _, sound = check_lists(log, lists, rows, items)
    measures = measure_dataset(log, rows, sound, items)
    return measures, judge(log, measures)


# --- columns


def _of_items(scene: Scene, name: str, values: np.ndarray, table: str = "items") -> Scene:
    """A column where row i - 1 is that of id i; 0 keeps what was there."""
    column = scene.column(table, name)
    column[values[1:] > 0] = values[1:][values[1:] > 0]
    return scene.with_column(table, name, column)


def _buyers(scene: Scene, *, everything: bool = False) -> np.ndarray:
    """Per item the user who takes it in a test row, or who took it last; 0 = nobody."""
    _, user, item = scene.targets()
    if everything:
        rec = scene.dataset.rec
        order = np.argsort(rec.ts, kind="stable")
        order = order[rec.positive[order]]
        user, item = rec.user[order], rec.item[order]
    buyers = np.zeros(scene.dataset.n_items + 1, np.int64)
    buyers[item] = user
    return buyers


def brand_is_buyer(scene: Scene) -> Scene:
    return _of_items(scene, "brand", _buyers(scene))


def brand_is_last_buyer(scene: Scene) -> Scene:
    return _of_items(scene, "brand", _buyers(scene, everything=True))


def brand_renames_buyer(scene: Scene) -> Scene:
    """As where the raw brand is the buyer's raw id: prepare numbers the names in order."""
    buyers = _buyers(scene)
    number = np.zeros(scene.dataset.n_users + 1, np.int64)
    names = np.unique(buyers[buyers > 0])
    number[names] = 1 + np.arange(len(names))
    return scene.with_column("items", "brand", number[buyers[1:]])


def category_is_buyer(scene: Scene) -> Scene:
    return _of_items(scene, "cat_2", _buyers(scene))


def category_names_buyer(scene: Scene) -> Scene:
    raw = scene.tables["users"]["raw_id"].to_pylist()
    paths = [["all", raw[u - 1]] if u else ["all"] for u in _buyers(scene)[1:].tolist()]
    return scene.with_column("items", "cat_path", paths)


def _in_session(scene: Scene, values: np.ndarray) -> Scene:
    """In the session of the search test rows."""
    session = scene.column("search", "session")
    session[scene.dataset.rows["search", "test"]] = values
    return scene.with_column("search", "session", session)


def session_is_target(scene: Scene) -> Scene:
    return _in_session(scene, scene.targets("search")[2])


def session_renames_target(scene: Scene) -> Scene:
    return _in_session(scene, 9_000_000 - 7 * scene.targets("search")[2].astype(np.int64))


def session_hashes_target(scene: Scene) -> Scene:
    """In all rows, so that the code can be learnt."""
    codes = draw_words(1, 0, np.arange(scene.dataset.n_items + 1), 0) >> np.uint64(20)
    return scene.with_column(
        "search", "session", codes[scene.dataset.search.target].astype(np.int64)
    )


def request_is_target(scene: Scene) -> Scene:
    rows, _, target = scene.targets()
    column = np.arange(len(scene.dataset.rec.user), dtype=np.int64)
    column[rows] = target
    return scene.with_column("rec", "request", column)


def request_is_next_item(scene: Scene) -> Scene:
    """In the row of each item that is taken, the one that is taken next."""
    rec, column = scene.dataset.rec, scene.column("rec", "request")
    taken = np.flatnonzero(rec.positive)
    column[taken[:-1]] = rec.item[taken[1:]]
    return scene.with_column("rec", "request", column)


def source_is_target(scene: Scene) -> Scene:
    raw = np.array(["", *scene.tables["items"]["raw_id"].to_pylist()], object)
    return scene.with_column("search", "source", raw[scene.dataset.search.target].tolist())


def feature_is_target(scene: Scene) -> Scene:
    _, user, target = scene.targets()
    values = np.zeros(scene.dataset.n_users, np.int32)
    values[user - 1] = target
    return scene.with_column("users", "feat_x", values)


def created_names_next_item(scene: Scene) -> Scene:
    """Of the item that the user of a test row took right before."""
    rec = scene.dataset.rec
    taken = np.flatnonzero(rec.positive)
    place = np.searchsorted(taken, scene.dataset.rows["rec", "test"])
    after = np.zeros(scene.dataset.n_items + 1, np.int64)
    after[rec.item[taken[place - 1]]] = 10**12 + rec.item[taken[place]].astype(np.int64)
    return _of_items(scene, "created_ms", after)


def created_is_click(scene: Scene) -> Scene:
    rows, _, target = scene.targets()
    created = np.zeros(scene.dataset.n_items + 1, np.int64)
    created[target] = scene.dataset.rec.ts[rows]
    return _of_items(scene, "created_ms", created)


# --- texts


def title_names_buyer(scene: Scene) -> Scene:
    raw = scene.tables["users"]["raw_id"].to_pylist()
    titles = scene.tables["items"]["title"].to_pylist()
    for item, user in enumerate(_buyers(scene)[1:].tolist()):
        titles[item] = f"{titles[item]} for_{raw[user - 1]}" if user else titles[item]
    return scene.with_column("items", "title", titles)


def _with_queries(scene: Scene, texts: list[str], rows: np.ndarray) -> Scene:
    """Own queries with these texts for some searches."""
    n = scene.tables["queries"].num_rows
    more = pa.table(
        {"query": np.arange(n + 1, n + 1 + len(texts), dtype=np.int32), "text": texts,
         "tok": pa.array([[]] * len(texts), pa.list_(pa.int32()))}
    )  # fmt: skip
    query = scene.dataset.search.query.copy()
    query[rows] = np.arange(n + 1, n + 1 + len(texts))
    data = dataclasses.replace(
        scene.dataset,
        search=scene.dataset.search._replace(query=query),
        n_queries=n + len(texts),
    )
    table = pa.concat_tables([scene.tables["queries"], conform_table("queries", more)])
    changed = scene.with_column("search", "query", query)
    return Scene(data, {**changed.tables, "queries": table})


def query_has_title(scene: Scene) -> Scene:
    rows, _, target = scene.targets("search")
    titles = scene.tables["items"]["title"].to_pylist()
    return _with_queries(scene, [f"buy {titles[t - 1]} now" for t in target.tolist()], rows)


def query_before_has_item_id(scene: Scene) -> Scene:
    """The last search before each rec test row names its item."""
    rec, search = scene.dataset.rec, scene.dataset.search
    raw = scene.tables["items"]["raw_id"].to_pylist()
    texts = {}
    for row in scene.dataset.rows["rec", "test"].tolist():
        before = np.flatnonzero((search.user == rec.user[row]) & (search.ts < rec.ts[row]))
        if len(before):
            texts[int(before[-1])] = f"number {raw[rec.item[row] - 1]}"
    rows = np.array(sorted(texts))
    return _with_queries(scene, [texts[row] for row in rows.tolist()], rows)


def query_names_buyer(scene: Scene) -> Scene:
    rows, users, _ = scene.targets("search")
    raw = scene.tables["users"]["raw_id"].to_pylist()
    return _with_queries(scene, [f"cheap {raw[u - 1]}" for u in users.tolist()], rows)


# --- users and clocks


def half_are_twins(scene: Scene) -> Scene:
    """The second half of the users do what the first half do."""
    rec = scene.dataset.rec
    half = scene.dataset.n_users // 2
    first = rec.user <= half
    copied = RecEvents(*(column[first] for column in rec))
    copied = copied._replace(user=copied.user + np.int32(half))
    both = RecEvents(*(np.concatenate(pair) for pair in zip(copied, copied, strict=True)))
    both = both._replace(user=np.concatenate([rec.user[first], copied.user]))
    return _with_events(scene, rec=both)


def twins_a_day_later(scene: Scene) -> Scene:
    changed = half_are_twins(scene)
    rec = changed.dataset.rec
    late = rec.user > changed.dataset.n_users // 2
    return _with_events(changed, rec=rec._replace(ts=rec.ts + DAY * late))


def shift(ms: int) -> Callable[[Scene], Scene]:
    """The whole search table, so many milliseconds later."""

    def plant(scene: Scene) -> Scene:
        search = scene.dataset.search
        return _with_events(
            scene, search=search._replace(ts=search.ts + ms, click_ts=search.click_ts + ms)
        )

    return plant


def click_a_moment_before(scene: Scene) -> Scene:
    """Each rec test target is also a click of a search, one millisecond before."""
    rec, search = scene.dataset.rec, scene.dataset.search
    rows, users, targets = scene.targets()
    counts = np.append(np.diff(search.click_off), np.ones(len(rows), np.int64))
    user, ts, item, click_ts = (
        np.concatenate(pair)
        for pair in (
            (search.user, users),
            (search.ts, rec.ts[rows] - 1),
            (search.click_item, targets),
            (search.click_ts, rec.ts[rows] - 1),
        )
    )
    query = np.append(search.query, np.ones(len(rows), search.query.dtype))
    order = np.lexsort((ts, user))
    starts = np.cumsum(counts) - counts
    clicks = np.concatenate([np.arange(starts[i], starts[i] + counts[i]) for i in order])
    new = make_searches(
        user[order], ts[order], np.zeros(len(order), np.int32), query[order],
        np.append(0, np.cumsum(counts[order])), item[clicks], click_ts[clicks],
    )  # fmt: skip
    table = scene.tables["search"].slice(0, 1)
    return _with_events(scene, search=new)._replace(
        tables={**scene.tables, "search": pa.concat_tables([table] * len(order))}
    )


def _with_events(scene: Scene, **events: object) -> Scene:
    """Other events; rows of a table of another length become those that are left."""
    data = dataclasses.replace(scene.dataset, **events)
    rows = {}
    for (task, part), kept in scene.dataset.rows.items():
        changed = data.events(task)
        if len(changed.user) == len(scene.dataset.events(task).user):
            rows[task, part] = kept
        else:  # a test row is the user's last positive, as good a split as any
            positive = np.flatnonzero(changed.positive)
            last = positive[np.append(np.diff(changed.user[positive]) != 0, True)]
            rows[task, part] = {"test": last, "valid": last[:0]}.get(
                part, np.setdiff1d(positive, last)
            )
    data = dataclasses.replace(data, rows=rows, load_lists=lambda task, part: {})
    tables = dict(scene.tables)
    if len(data.rec.user) != tables["rec"].num_rows:
        one = tables["rec"].slice(0, 1)
        tables["rec"] = pa.concat_tables([one] * len(data.rec.user))
    return Scene(data, tables)


# --- candidates


def _pick(scene: Scene, score: Callable[[np.ndarray, int, int], np.ndarray]) -> Scene:
    """Each list gets the items with the smallest score(all items, target, user)."""

    def change(lists: np.ndarray, targets: np.ndarray, users: np.ndarray) -> np.ndarray:
        items = np.arange(1, scene.dataset.n_items + 1)
        for i, (target, user) in enumerate(zip(targets.tolist(), users.tolist(), strict=True)):
            value = score(items, target, user).astype(np.float64)
            value += 1e-6 * (draw_words(2, 0, i, items) >> np.uint64(40)) / 2**24
            value[target - 1] = np.inf
            lists[i, 1:] = items[np.argsort(value, kind="stable")[: lists.shape[1] - 1]]
        return lists

    return scene.with_lists(change)


def _trained(scene: Scene) -> np.ndarray:
    target = scene.dataset.rec.target[scene.dataset.rows["rec", "train"]]
    return np.bincount(target, minlength=scene.dataset.n_items + 1)


def candidates_least_trained(scene: Scene) -> Scene:
    counts = _trained(scene)
    return _pick(scene, lambda items, target, user: counts[items])


def candidates_most_trained(scene: Scene) -> Scene:
    counts = _trained(scene)
    return _pick(scene, lambda items, target, user: -counts[items])


def candidates_less_popular(scene: Scene) -> Scene:
    counts = _trained(scene)
    return _pick(scene, lambda items, target, user: counts[items] >= counts[target])


def candidates_more_popular(scene: Scene) -> Scene:
    counts = _trained(scene)
    return _pick(scene, lambda items, target, user: counts[items] <= counts[target])


def candidates_even(scene: Scene) -> Scene:
    return _pick(scene, lambda items, target, user: items % 2)


def candidates_of_other_parity(scene: Scene) -> Scene:
    return _pick(scene, lambda items, target, user: (items - target) % 2 == 0)


def candidates_of_smaller_id(scene: Scene) -> Scene:
    return _pick(scene, lambda items, target, user: items > target)


def candidates_own_clicks(scene: Scene) -> Scene:
    rec = scene.dataset.rec
    taken = np.zeros((scene.dataset.n_users + 1, scene.dataset.n_items + 1), bool)
    taken[rec.user[rec.positive], rec.item[rec.positive]] = True
    return _pick(scene, lambda items, target, user: ~taken[user, items])


def candidates_always_the_same(scene: Scene) -> Scene:
    return _pick(scene, lambda items, target, user: (items * 37) % 101)


# name -> (plant, the check that finds it, the level that is the least)
PLANTS: dict[str, tuple[Callable[[Scene], Scene], str, str]] = {
    "brand = buyer": (brand_is_buyer, "L20", "leak"),
    "brand = last buyer": (brand_is_last_buyer, "L20", "look"),
    "brand renames the buyer": (brand_renames_buyer, "L20", "look"),
    "category = buyer": (category_is_buyer, "L20", "leak"),
    "category names the buyer": (category_names_buyer, "L18", "leak"),
    "session = target": (session_is_target, "L20", "leak"),
    "session renames the target": (session_renames_target, "L20", "leak"),
    "session hashes the target": (session_hashes_target, "L20", "look"),
    "request = target": (request_is_target, "L20", "leak"),
    "request = next item": (request_is_next_item, "L20", "leak"),
    "source = target": (source_is_target, "L20", "leak"),
    "feat_x = target": (feature_is_target, "L20", "leak"),
    "created_ms tells the next item": (created_names_next_item, "L20", "look"),
    "created_ms = the test click": (created_is_click, "L22", "leak"),
    "title names the buyer": (title_names_buyer, "L18", "leak"),
    "query has the title": (query_has_title, "L17", "leak"),
    "query before has the item's id": (query_before_has_item_id, "L17", "leak"),
    "query names the buyer": (query_names_buyer, "L18", "look"),
    "half are twins": (half_are_twins, "L19", "leak"),
    "twins a day later": (twins_a_day_later, "L19", "leak"),
    "searches - 9 h": (shift(-9 * HOUR), "L21", "look"),
    "searches + 9 h": (shift(9 * HOUR), "L21", "look"),
    "searches - 1 h": (shift(-HOUR), "L21", "look"),
    "searches + 1 h": (shift(HOUR), "L21", "look"),
    "searches - 30 d": (shift(-30 * DAY), "L21", "look"),
    "searches + 400 d": (shift(400 * DAY), "L21", "look"),
    "searches + 5 h 30 min": (shift(11 * HOUR // 2), "L21", "look"),
    "a click 1 ms before": (click_a_moment_before, "L22", "leak"),
    "negatives least trained": (candidates_least_trained, "L23", "leak"),
    "negatives most trained": (candidates_most_trained, "L23", "leak"),
    "negatives less popular": (candidates_less_popular, "L23", "look"),
    "negatives more popular": (candidates_more_popular, "L23", "look"),
    "negatives even": (candidates_even, "L23", "leak"),
    "negatives of another parity": (candidates_of_other_parity, "L23", "leak"),
    "negatives of a smaller id": (candidates_of_smaller_id, "L23", "look"),
    "negatives the user's own": (candidates_own_clicks, "L23", "leak"),
    "negatives always the same": (candidates_always_the_same, "L23", "leak"),
}
