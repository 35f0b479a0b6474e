"""Reading a dataset folder back, with its hashes verified."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common.bounds import check_regular
from common.data.checks import check_clicks, check_lists, check_split, check_tables
from common.data.dataset import CandidateList, Dataset
from common.data.events import PARTS, TASKS, RecEvents, SearchEvents, make_searches
from common.data.hashing import array_sha256
from common.data.list_files import check_listed, read_array, read_lists
from common.data.manifest import check_manifest, tell_command
from common.data.schema import (
    TABLES,
    VERSION,
    VOCABULARIES,
    conform_table,
    dataset_sha256,
    table_sha256,
)
from common.data.vocabulary import LEVELS
from common.errors import InputError
from common.json_files import read_json

MANIFEST = "dataset.json"


def load_dataset(
    path: str | Path, split: str = "leave_one_out_joint", *, verify: bool = True
) -> Dataset:
    """Loads a dataset folder with one of its splits.

    verify: compare the hashes of tables and split with the manifest, and check ids, order and
            split; False loads what is there, e.g. to audit it
    Raises InputError naming the file for a folder that is missing, no dataset, of another
    version, damaged or changed, and for a split it does not have.
    """
    path = Path(path)
    manifest = read_manifest(path)
    check_split_name(path, manifest, split)
    tables = {name: _read_table(path, name) for name in TABLES}
    rows = {
        (task, part): read_array(_split_file(path, split, task, part), ndim=1)
        for task in TASKS
        for part in PARTS
    }
    rec, search = make_rec_events(tables["rec"]), make_search_events(tables["search"])
    if verify:
        _verify_tables(path, manifest, tables)
        check_clicks(search)
        _verify_split(path, manifest, split, rows)
        where, joint = f"{path}, split {split}", split == "leave_one_out_joint"
        check_split(where, rows, rec, search, manifest["history_order"], joint=joint)
    lists = manifest["candidates"].get(split, {})
    check_listed(path, split, lists)
    targets = {}  # of the lists; an audit looks at lists of any form
    if verify:
        answers = {"rec": rec.target, "search": search.target}
        targets = {key: answers[key[0]][listed] for key, listed in rows.items()}
    levels = [tables["items"][f"cat_{level + 1}"].to_numpy() for level in range(LEVELS)]
    return Dataset(
        path=path,
        manifest=manifest,
        split=split,
        history_order=manifest["history_order"],
        **{f"n_{name}": tables[name].num_rows for name in VOCABULARIES},
        rec=rec,
        search=search,
        rows=rows,
        query_tokens=_pad_lists(tables["queries"]["tok"]),
        item_categories=np.pad(np.stack(levels, axis=1), ((1, 0), (0, 0))),
        load_lists=partial(_load_lists, path, split, lists, targets, tables["items"].num_rows),
    )


def read_manifest(path: Path) -> dict[str, Any]:
    """Reads dataset.json. Raises InputError if the folder is missing or no dataset folder."""
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; make one with `python -m launch.prepare`")
    file = path / MANIFEST
    if not file.is_file():
        raise InputError(f"{path}: is no dataset folder (no {MANIFEST}); give the one prepared")
    manifest = read_json(file, "prepare the dataset again")
    version = manifest.get("schema")
    if version != VERSION:
        raise InputError(
            f"{file}, key schema: is {version!r}, this program reads {VERSION}; make it anew: "
            f"{tell_command(path, manifest)}"
        )
    check_manifest(str(file), manifest)
    return manifest


def check_split_name(path: Path, manifest: Mapping[str, Any], split: str) -> None:
    """Raises InputError where a dataset folder does not have the split."""
    if split not in manifest["splits"]:
        known = ", ".join(manifest["splits"])
        near = difflib.get_close_matches(split, manifest["splits"], 1)
        hint = f"did you mean {near[0]}?" if near else "prepare it with --splits"
        raise InputError(f"{path}: has no split {split!r}, only {known}; {hint}")


def make_rec_events(table: pa.Table) -> RecEvents:
    """The rec table as arrays."""
    return RecEvents(
        *(table[name].to_numpy() for name in ("user", "ts_ms", "seq", "item", "label"))
    )


def make_search_events(table: pa.Table) -> SearchEvents:
    """The search table as arrays; the target is the item clicked first.

    Raises InputError where a search has not as many times of clicks as clicks (F06).
    """
    lengths, other = (
        pc.fill_null(pc.list_value_length(table[name]), 0).to_numpy()
        for name in ("clicked", "click_ts")
    )
    if (uneven := np.flatnonzero(lengths != other)).size:
        raise InputError(
            f"search.parquet, row {uneven[0] + 1}, column click_ts: has not the length of clicked "
            "(F06); prepare the dataset again"
        )
    off = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    clicks = [pc.list_flatten(table[name]).to_numpy() for name in ("clicked", "click_ts")]
    user, ts, seq, query = (table[name].to_numpy() for name in ("user", "ts_ms", "seq", "query"))
    return make_searches(user, ts, seq, query, off, clicks[0], clicks[1])


def _pad_lists(lists: pa.ChunkedArray) -> np.ndarray:
    """int32 [n + 1, W], zeros at the ends of the rows and in row 0."""
    lengths = pc.list_value_length(lists).to_numpy()
    padded = np.zeros((len(lengths) + 1, max(int(lengths.max(initial=0)), 1)), np.int32)
    padded[1:][np.arange(padded.shape[1]) < lengths[:, None]] = pc.list_flatten(lists).to_numpy()
    return padded


def _split_file(path: Path, split: str, task: str, part: str) -> Path:
    return path / "split" / split / f"{task}_{part}.npy"


def _read_table(path: Path, name: str) -> pa.Table:
    file = path / f"{name}.parquet"
    check_regular(file, "prepare the dataset again")
    try:
        table = pq.read_table(file)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file}: cut short or no Parquet file; prepare it again") from error
    try:
        return conform_table(name, table)
    except InputError as error:  # it names the table; where that is, only this place knows
        raise InputError(str(path / str(error))) from error


def _verify_tables(path: Path, manifest: Mapping[str, Any], tables: Mapping[str, pa.Table]) -> None:
    for name, table in tables.items():
        if table_sha256(table) != manifest["tables"].get(name, {}).get("sha256"):
            raise InputError(
                f"{path / name}.parquet: sha256 differs from {MANIFEST} (F15); prepare it again"
            )
    hashes = [stored["sha256"] for stored in manifest["tables"].values()]
    if dataset_sha256(hashes) != manifest["sha256"]:
        raise InputError(
            f"{path / MANIFEST}, key sha256: is not that of its tables (F15); prepare it again"
        )
    for name, size in manifest.get("vocab", {}).items():
        if (rows := tables[name].num_rows) != size:
            raise InputError(
                f"{path / MANIFEST}, key vocab.{name}: is {size:,}, {name}.parquet has {rows:,} "
                "rows (F04); prepare it again"
            )
    check_tables(tables)


def _verify_split(
    path: Path, manifest: Mapping[str, Any], split: str, rows: Mapping[tuple[str, str], np.ndarray]
) -> None:
    for (task, part), array in rows.items():
        stored = manifest["splits"][split]["files"].get(f"{task}_{part}", {})
        if array_sha256(array) != stored.get("sha256"):
            file = _split_file(path, split, task, part)
            raise InputError(f"{file}: sha256 differs from {MANIFEST} (F15); prepare it again")


def _load_lists(
    path: Path,
    split: str,
    entry: Mapping[str, Any],
    targets: Mapping[tuple[str, str], np.ndarray],
    n_items: int,
    task: str,
    part: str,
) -> Mapping[str, CandidateList]:
    """The lists of one part; their form too is checked where its targets are given (F11)."""
    lists = read_lists(path, split, entry, task, part)
    if (task, part) in targets:
        for kind, stored in lists.items():
            where = f"{path}/cand/{split}.{kind}/{task}_{part}.npy"
            check_lists(where, stored.items, targets[task, part], n_items)
    return lists
