"""The leak and sanity report of one split of a dataset folder.

Faults make results wrong: a target in its own history, a history that is not strictly earlier,
parts that overlap, broken candidate lists, changed files. Figures are printed whatever they say.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from common.data.audit_faults import Fault, Figure, Log, make_fault, read_log
from common.data.audit_histories import check_histories
from common.data.audit_lists import Lists, check_lists
from common.data.audit_splits import check_copies, check_cuts, check_rows, describe_split
from common.data.checks import check_tables, find_early_clicks
from common.data.dataset import CandidateList, Dataset
from common.data.events import PARTS, TASKS
from common.data.hashing import array_sha256
from common.data.list_files import read_array
from common.data.schema import conform_table, dataset_sha256, table_sha256
from common.errors import InputError

_WIDTH = 78  # where the values of figures stop being aligned


class AuditReport(NamedTuple):
    """What an audit found."""

    title: str
    faults: tuple[Fault, ...]
    figures: tuple[Figure, ...]


def audit_dataset(dataset: Dataset) -> AuditReport:
    """Audits one split of a dataset; works on any folder, also on imported ones.

    The dataset may be loaded without verification: what is wrong is reported, not raised.
    Raises InputError only where a table cannot be read as what it should be.
    """
    changed = _check_files(dataset)
    log = read_log(dataset)
    faults, rows = check_rows(log)
    faults += _check_clicks(log)
    figures = [
        ("sha256", dataset.sha256),
        ("vocabulary", f"{dataset.n_users:,} users, {dataset.n_items:,} items, "
         f"{dataset.n_queries:,} queries, {dataset.n_tokens:,} tokens"),
        *describe_split(log, rows),
    ]  # fmt: skip
    lists, broken = _load_lists(dataset)
    faults += changed + broken
    for found, told in (
        check_cuts(log, rows),
        check_copies(log, rows),
        check_histories(log, rows),
        check_lists(log, lists, rows),
    ):
        faults += found
        figures += told
    title = (
        f"{dataset.name}, split {dataset.split}, history order {dataset.history_order}, "
        f"time resolution {dataset.manifest.get('time', {}).get('resolution', 'unknown')}"
    )
    return AuditReport(title, tuple(faults), tuple(figures))


def _check_files(dataset: Dataset) -> list[Fault]:
    """F15: tables and split files that are not what the manifest says was written.

    Raises InputError for tables with ids or lists that cannot be (F03 to F07).
    """
    stored = dataset.manifest.get("tables", {})
    tables = {name: pq.read_table(dataset.path / f"{name}.parquet") for name in stored}
    tables = {name: conform_table(name, table) for name, table in tables.items()}
    if tables:
        check_tables(tables)
    changed = [
        f"{name}.parquet" for name, t in tables.items() if table_sha256(t) != stored[name]["sha256"]
    ]
    if stored and dataset_sha256(entry["sha256"] for entry in stored.values()) != dataset.sha256:
        changed.append("dataset.json, key sha256")
    files = dataset.manifest.get("splits", {}).get(dataset.split, {}).get("files", {})
    for (task, part), rows in dataset.rows.items():
        name = f"{task}_{part}"
        if files and array_sha256(rows) != files.get(name, {}).get("sha256"):
            changed.append(f"split/{dataset.split}/{name}.npy")
    what = "sha256 is not the one in dataset.json"
    return [fault for file in changed for fault in make_fault("F15", file, what, 1, [])]


def _check_clicks(log: Log) -> list[Fault]:
    """F07: a click that came before its search cannot be."""
    early = find_early_clicks(log.dataset.search)
    named = (log.describe("search", int(row)) for row in np.flatnonzero(early))
    return make_fault("F07", "search", "a click came before its search", int(early.sum()), named)


def _load_lists(dataset: Dataset) -> tuple[dict[tuple[str, str], Lists], list[Fault]]:
    """The candidate lists of valid and test, and F15 where a file is not what was stored.

    Lists with another hash are read all the same: what changed in them is the question.
    """
    lists: dict[tuple[str, str], Lists] = {}
    faults = []
    for task in TASKS:
        for part in PARTS[1:]:
            name = f"{task}_{part}"
            try:
                lists[task, part] = dataset.load_lists(task, part)
            except InputError as error:
                faults += make_fault("F15", name, "lists are not as stored", 1, [str(error)])
                lists[task, part] = _read_unverified(dataset, name)
    return lists, faults


def _read_unverified(dataset: Dataset, name: str) -> Lists:
    """The lists of one part, by kind, whatever their hash; without files that cannot be read."""
    lists = {}
    for file in sorted(dataset.path.glob(f"cand/{dataset.split}.*/{name}.npy")):
        kind = file.parent.name.removeprefix(f"{dataset.split}.")
        with contextlib.suppress(InputError):
            lists[kind] = CandidateList(read_array(file, ndim=2), "")
    return lists


def format_report(report: AuditReport) -> str:
    """The report as text: figures, then faults with the rows they name, then the verdict."""
    lines = [f"audit of {report.title}"]
    width = min(_WIDTH, max(len(name) for name, _ in report.figures))
    lines += [f"  {name:<{width}}  {value}" for name, value in report.figures]
    for fault in report.faults:
        lines.append(f"  {fault.check} {fault.where}: {fault.what}: {fault.number:,}")
        lines += [f"      {text}" for text in fault.examples]
        if fault.number > len(fault.examples) > 0:
            lines.append(f"      and {fault.number - len(fault.examples):,} more")
    checks = sorted({fault.check for fault in report.faults})
    lines.append(f"  LEAKS OR FAULTS: {', '.join(checks)}" if checks else "  clean")
    return "\n".join(lines)
