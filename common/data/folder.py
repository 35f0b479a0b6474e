"""Writing a dataset folder: the tables, the splits, the candidate lists and the manifest.

    dataset.json                                          counts, settings, hashes
    users.parquet items.parquet queries.parquet tokens.parquet rec.parquet search.parquet
    split/<split>/{rec,search}_{train,valid,test}.npy     row numbers
    cand/<split>.<kind>/{rec,search}_{valid,test}.npy     candidate lists, a .json with each
    truth/                                                of synthetic data, or of --truth

It is written beside its place and renamed when it is complete (`common.data.draft`), so a folder is
whole or absent.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.data.checks import check_clicks, check_split, check_tables, count_warnings
from common.data.click_times import describe_delays
from common.data.draft import written_beside
from common.data.event_tables import share_ties
from common.data.events import PARTS, TASKS, RecEvents, SearchEvents
from common.data.hashing import array_sha256
from common.data.list_files import make_source, write_lists
from common.data.loading import MANIFEST, load_dataset, make_rec_events, make_search_events
from common.data.schema import (
    TABLES,
    VERSION,
    VOCABULARIES,
    SourceTables,
    conform_table,
    dataset_sha256,
    table_sha256,
)
from common.data.splits import SPLITS, make_split
from common.errors import InputError
from common.npy_files import write_npy

__all__ = ["PrepareSettings", "check_place", "load_dataset", "write_dataset"]

ORDERS = ("time", "source")  # of histories
_NEGATIVES = 99
_CHECKS = ["F03", "F04", "F05", "F06", "F07", "F08", "F11", "F12"]


@dataclass(frozen=True)
class PrepareSettings:
    """What is made of the tables."""

    history_order: str = "time"  # or "source"; see `common.data.keys`
    splits: tuple[str, ...] = ("leave_one_out_joint",)  # of `common.data.splits.SPLITS`
    seed: int = 0  # of the candidate lists
    negatives: int | None = None  # per list, 0 = no lists; None = what suits the source, else 99
    max_cut_share: float = 0.5  # leave_one_out_joint
    t1: int | None = None  # global_time, ms UTC; both or neither
    t2: int | None = None
    overwrite: bool = False  # replaces a dataset folder

    def __post_init__(self) -> None:
        if self.negatives is not None and self.negatives < 0:
            raise InputError(f"--negatives={self.negatives}: is negative; use 0 for no lists")
        if self.history_order not in ORDERS:
            orders = " or ".join(ORDERS)
            raise InputError(f"--history_order={self.history_order}: unknown; use {orders}")
        if not 0 <= self.max_cut_share <= 1:
            raise InputError(f"max_cut_share={self.max_cut_share:g}: use a share from 0 to 1")
        if not self.splits:
            raise InputError("--splits: names no split; give at least one")
        for split in self.splits:
            if split not in SPLITS:
                near = difflib.get_close_matches(split, SPLITS, 1)
                hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(SPLITS)}"
                raise InputError(f"--splits: there is no split {split!r}; {hint}")
        if len(set(self.splits)) < len(self.splits):
            raise InputError("--splits: names a split twice; name it once")


def write_dataset(
    out: str | Path,
    tables: SourceTables,
    settings: PrepareSettings | None = None,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Writes a dataset folder.

    out:    the folder to make; may exist if it is empty, or with settings.overwrite if it is a
            dataset folder
    tables: what a reader returned
    say:    told what is going on
    Returns the manifest. Raises InputError, with nothing left behind, for tables that fail a
    check, for a split without rows, too few items for the lists, or a place that is taken or
    cannot be one; WriteError, with nothing left behind either, for what the disk refuses.
    """
    settings = settings or PrepareSettings()
    check_place(Path(out), settings.overwrite)
    with written_beside(Path(out)) as folder:
        # Again, now that nobody else writes there.
        check_place(Path(out), settings.overwrite)
        return _fill_folder(folder, tables, settings, say)


def check_place(out: Path, overwrite: bool) -> None:
    """Raises InputError unless a dataset folder may be made at `out`."""
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; use another --out")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not overwrite:
        raise InputError(f"{out}: is not empty; use another --out or --overwrite")
    if not (out / MANIFEST).is_file():
        raise InputError(f"{out}: is no dataset folder, so it is not replaced; use another --out")


def _fill_folder(
    folder: Path, source: SourceTables, settings: PrepareSettings, say: Callable[[str], None]
) -> dict[str, Any]:
    say("checking tables")
    tables = {name: conform_table(name, source.table(name)) for name in TABLES}
    _check_not_empty(tables)
    check_tables(tables)
    rec, search = make_rec_events(tables["rec"]), make_search_events(tables["search"])
    check_clicks(search)
    tie_share = _tie_share(rec, search)
    say("writing tables")
    entries = {}
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
        entries[name] = {"rows": table.num_rows, "sha256": table_sha256(table)}

    negatives = settings.negatives
    if negatives is None:
        negatives = int(source.meta.get("negatives", _NEGATIVES))
    lists = make_source(tables, rec, search, settings.seed, negatives)
    notes = list(source.meta.get("notes", ()))
    splits, candidates = {}, {}
    for split in settings.splits:
        say(f"making split {split}")
        rows, splits[split] = _write_split(folder, split, rec, search, settings)
        say(f"drawing candidate lists of {split}")
        candidates[split], left_out = write_lists(folder, split, rows, lists)
        notes += left_out

    meta = source.meta
    manifest: dict[str, Any] = {
        "schema": VERSION,
        **{key: meta[key] for key in ("name", "version", "licence", "redistributable", "sources")},
        "time": {
            "unit": "ms_utc",
            "resolution": meta["time_resolution"],
            "tie_share": round(tie_share, 6),
        },
        "history_order": settings.history_order,
        "counts": _count_events(rec, search),
        "vocab": {name: tables[name].num_rows for name in VOCABULARIES},
        "filters": meta["filters"],
        "pseudo_query": meta["pseudo_query"],
        "click_times": {**meta.get("click_times", {}), "delays_s": describe_delays(search)},
        "seeds": {"lists": settings.seed},
        "notes": notes,
        "checks": {"passed": _CHECKS, "warnings": count_warnings(tables, tie_share)},
        "splits": splits,
        "candidates": candidates,
        "tables": entries,
        "sha256": dataset_sha256(entry["sha256"] for entry in entries.values()),
    }
    if source.truth:
        manifest["truth"] = _write_truth(folder / "truth", source)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def _check_not_empty(tables: Mapping[str, pa.Table]) -> None:
    for name in ("items", "rec", "users"):
        if not tables[name].num_rows:
            raise InputError(f"{name}: the source has none; check --raw")


def _tie_share(rec: RecEvents, search: SearchEvents) -> float:
    """Share of events tied in time with another of their user and table."""
    sizes = [int(rec.positive.sum()), len(search.user)]
    shares = [
        share_ties(rec.user[rec.positive], rec.ts[rec.positive]),
        share_ties(search.user, search.ts),
    ]
    return float(np.average(shares, weights=sizes)) if sum(sizes) else 0.0


def _write_split(
    folder: Path, split: str, rec: RecEvents, search: SearchEvents, settings: PrepareSettings
) -> tuple[Mapping[tuple[str, str], np.ndarray], dict[str, Any]]:
    """Returns the rows and the manifest entry."""
    rows, info = make_split(
        split, rec, search, settings.history_order,
        max_cut_share=settings.max_cut_share, t1=settings.t1, t2=settings.t2,
    )  # fmt: skip
    joint = split == "leave_one_out_joint"
    check_split(f"split {split}", rows, rec, search, settings.history_order, joint=joint)
    place = folder / "split" / split
    place.parent.mkdir(exist_ok=True)  # and no more parents: a folder that has gone stays gone
    place.mkdir()
    files = {}
    for task in TASKS:
        for part in PARTS:
            name = f"{task}_{part}"
            write_npy(place / f"{name}.npy", rows[task, part])
            files[name] = {
                "rows": len(rows[task, part]),
                "sha256": array_sha256(rows[task, part]),
            }
    return rows, dict(info) | {"files": files}


def _count_events(rec: RecEvents, search: SearchEvents) -> dict[str, int]:
    return {
        "rec": len(rec.user),
        "rec_positives": int(rec.positive.sum()),
        "search": len(search.user),
        "search_positives": int(search.positive.sum()),
        "users_in_both": len(np.intersect1d(rec.user[rec.positive], search.user)),
    }


def _write_truth(place: Path, source: SourceTables) -> dict[str, Any]:
    place.mkdir()
    params = source.meta.get("truth_params", {})
    (place / "params.json").write_text(json.dumps(params, indent=1) + "\n")
    entries = {}
    for name, table in source.truth.items():
        pq.write_table(table, place / f"{name}.parquet", compression="zstd")
        entries[name] = {"rows": table.num_rows, "sha256": table_sha256(table)}
    return entries
