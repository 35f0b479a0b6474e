"""Candidate lists as files: cand/<split>.<kind>/{rec,search}_{valid,test}.npy with a .json each.

Shapes: [n] rows of a part  [k] negatives
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.data.bm25 import Bm25Index, Words, build_index, split_words
from common.data.candidates import (
    Ever,
    SameQuery,
    TooFewItems,
    count_items,
    draw_bm25_lists,
    draw_popularity_lists,
    draw_uniform_lists,
    ever_items,
    same_query_items,
)
from common.data.checks import check_lists
from common.data.dataset import CandidateList
from common.data.events import PARTS, TASKS, RecEvents, SearchEvents
from common.data.hashing import array_sha256
from common.errors import InputError
from common.npy_files import read_npy, write_npy

RULES = {
    "uniform": "items drawn uniformly; none that the user ever took",
    "popularity": "items drawn by train counts of the task; none that the user ever took",
    "bm25": "best BM25 matches of the query, filled up by train counts; none the user ever took",
}
_MOST_SCORES = 5e9  # items x queries: about ten seconds; beyond it, BM25 lists are left out


class ListSource(NamedTuple):
    """What lists are drawn from; the same for every split of a dataset."""

    events: Mapping[str, RecEvents | SearchEvents]  # by task
    ever: Ever
    n_items: int
    seed: int
    negatives: int
    bm25: Bm25Index | None  # None where queries or items have no text
    same_query: SameQuery


def make_source(
    tables: Mapping[str, pa.Table], rec: RecEvents, search: SearchEvents, seed: int, negatives: int
) -> ListSource:
    """Prepares drawing. negatives: k, how many each list gets; 0 = there will be none."""
    n_users, n_items = tables["users"].num_rows, tables["items"].num_rows
    return ListSource(
        events={"rec": rec, "search": search},
        ever=ever_items(rec, search, n_users),
        n_items=n_items,
        seed=seed,
        negatives=negatives,
        bm25=_index_texts(tables) if negatives and search.positive.any() else None,
        same_query=same_query_items(search, n_items),
    )


def write_lists(
    folder: Path, split: str, rows: Mapping[tuple[str, str], np.ndarray], source: ListSource
) -> tuple[dict[str, Any], list[str]]:
    """Draws and writes the lists of a split.

    Returns the manifest entry {kind: {task_part: {rows, sha256}}} and notes on what was left out:
    lists drawn by popularity where too few items are trained on to fill them.
    Raises InputError naming split, list and row where the whole catalogue has too few items.
    """
    if not source.negatives:
        return {}, [f"split {split}: no candidate lists, as asked for"]
    entry: dict[str, Any] = {}
    notes: list[str] = []
    kinds = ["uniform", "popularity"]
    if source.bm25 is not None:
        evaluated = np.concatenate([rows["search", part] for part in PARTS[1:]])
        queries = len(np.unique(_queries(source, evaluated)))
        if 0 < queries * source.n_items <= _MOST_SCORES:
            kinds.append("bm25")
        elif queries:
            notes.append(f"split {split}: no bm25 lists, {queries:,} queries are too many")
    for rule in kinds:
        kind = f"{rule}{'_' if rule == 'bm25' else ''}{source.negatives}"
        try:
            drawn = _draw_parts(rule, rows, source, f"split {split}, {kind}")
        except TooFewItems as error:
            if rule == "uniform":
                raise
            what = str(error).removesuffix("; lower --negatives")
            notes.append(f"{what}; left out, as too few items are trained on to draw from")
            continue
        place = folder / "cand" / f"{split}.{kind}"
        place.parent.mkdir(exist_ok=True)  # and no more parents: a folder that has gone stays gone
        place.mkdir()
        entry[kind] = {}
        for (task, part), lists in drawn.items():
            name = f"{task}_{part}"
            write_npy(place / f"{name}.npy", lists)
            about = _describe(rule, kind, task, rows[task, part], lists, source)
            (place / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")
            entry[kind][name] = {"rows": len(lists), "sha256": about["sha256"]}
    return entry, notes


def _draw_parts(
    rule: str, rows: Mapping[tuple[str, str], np.ndarray], source: ListSource, where: str
) -> dict[tuple[str, str], np.ndarray]:
    """The lists of a kind, by (task, part), for the parts that have rows."""
    drawn = {}
    for task in TASKS if rule != "bm25" else ("search",):
        train = source.events[task].target[rows[task, "train"]]
        counts = count_items(train, source.n_items)
        for part in PARTS[1:]:
            if len(rows[task, part]):
                drawn[task, part] = _draw(rule, task, rows[task, part], counts, source, where)
    return drawn


def read_lists(
    folder: Path, split: str, entry: Mapping[str, Any], task: str, part: str
) -> dict[str, CandidateList]:
    """Reads the lists of one part, by kind. entry: the manifest's, as `write_lists` made it.

    Raises InputError naming the file that is missing, damaged or not the one that was stored.
    """
    lists = {}
    for kind, files in entry.items():
        if (stored := files.get(f"{task}_{part}")) is not None:
            path = folder / "cand" / f"{split}.{kind}" / f"{task}_{part}.npy"
            items = read_array(path, ndim=2)
            if array_sha256(items) != stored["sha256"]:
                raise InputError(f"{path}: sha256 differs from dataset.json; prepare it again")
            lists[kind] = CandidateList(items, stored["sha256"])
    return lists


def check_listed(folder: Path, split: str, entry: Mapping[str, Any]) -> None:
    """Raises InputError for a file of lists that the manifest does not name: its entry was lost.

    entry: the manifest's, as `write_lists` made it
    """
    for place in sorted(folder.glob("cand/*")):
        of, _, kind = place.name.partition(".")
        for file in sorted(place.glob("*.npy")) if of == split else ():
            if file.stem not in entry.get(kind, {}):
                raise InputError(
                    f"{file}: is not in dataset.json, candidates.{split}; prepare the dataset again"
                )


def read_array(path: Path, ndim: int) -> np.ndarray:
    """Reads a .npy file of row numbers (one axis) or candidate lists (two). Raises InputError."""
    return read_npy(path, "iu", ndim, "prepare the dataset again")


def _queries(source: ListSource, rows: np.ndarray) -> np.ndarray:
    searches = source.events["search"]
    assert isinstance(searches, SearchEvents)
    return searches.query[rows]


def _draw(
    rule: str, task: str, rows: np.ndarray, counts: np.ndarray, source: ListSource, where: str
) -> np.ndarray:
    events = source.events[task]
    targets, users = events.target[rows], events.user[rows]
    args = (task, rows, targets, users, source.ever)
    try:
        if rule == "uniform":
            lists = draw_uniform_lists(*args, source.n_items, source.seed, source.negatives)
        elif rule == "popularity":
            lists = draw_popularity_lists(*args, counts, source.seed, source.negatives)
        else:
            assert source.bm25 is not None
            lists = draw_bm25_lists(
                *args, counts, source.seed, source.negatives,
                queries=_queries(source, rows), index=source.bm25,
            )  # fmt: skip
    except TooFewItems as error:
        raise TooFewItems(f"{where}, {error}") from error
    check_lists(where, lists, targets, source.n_items)
    return lists


def _describe(
    rule: str, kind: str, task: str, rows: np.ndarray, lists: np.ndarray, source: ListSource
) -> dict[str, Any]:
    about: dict[str, Any] = {
        "kind": kind,
        "rule": RULES[rule],
        "seed": source.seed,
        "negatives": source.negatives,
        "exclude": "ever",
        "sha256": array_sha256(lists),
    }
    if rule != "uniform":
        about["popularity_from"] = "train"
    if task == "search":  # equally good answers that count as wrong
        share = source.same_query.share(lists, _queries(source, rows))
        about["negatives_clicked_for_same_query"] = round(share, 6)
    return about


def _index_texts(tables: Mapping[str, pa.Table]) -> Bm25Index | None:
    """BM25 over titles and texts, or over tokens where there is no text."""
    items, queries = tables["items"], tables["queries"]
    described = items["title"].null_count + items["text"].null_count < 2 * items.num_rows
    if described and not queries["text"].null_count:
        texts = pc.binary_join_element_wise(
            items["title"], items["text"], " ", null_handling="skip"
        ).to_pylist()
        numbers: dict[str, int] = {}
        words = split_words(["", *texts], numbers)
        return build_index(words, split_words(["", *queries["text"].to_pylist()], numbers))
    if items["text_tok"].null_count < items.num_rows and tables["tokens"].num_rows:
        return build_index(_list_words(items["text_tok"]), _list_words(queries["tok"]))
    return None


def _list_words(lists: pa.ChunkedArray) -> Words:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    off = np.concatenate([[0, 0], np.cumsum(lengths, dtype=np.int64)])  # text 0 is empty
    return Words(off, pc.list_flatten(lists).to_numpy().astype(np.int32))
