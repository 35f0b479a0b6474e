"""The leak and sanity report of one split of a dataset folder.

Faults make results wrong: a target in its own history, a history that is not strictly earlier,
parts that overlap, broken candidate lists, changed files, a column or text that names the answer.
Looks may: figures no clean data set had. Figures are printed whatever they say. docs/audit.md
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from common.data.audit_columns import measure_columns
from common.data.audit_draws import measure_draws
from common.data.audit_faults import Fault, Figure, Log, make_fault, read_log
from common.data.audit_histories import check_histories
from common.data.audit_limits import ADVICE, Measure, judge
from common.data.audit_lists import ItemFacts, Lists, check_lists
from common.data.audit_moments import measure_moments
from common.data.audit_offsets import measure_offsets
from common.data.audit_splits import Rows, check_copies, check_cuts, check_rows, describe_split
from common.data.audit_texts import measure_texts
from common.data.audit_twins import measure_twins
from common.data.checks import check_tables, find_early_clicks
from common.data.dataset import CandidateList, Dataset
from common.data.events import PARTS, TASKS
from common.data.hashing import array_sha256
from common.data.list_files import read_array
from common.data.schema import TABLES, conform_table, dataset_sha256, table_sha256
from common.errors import InputError

# Figures that say what the data are.
_OVERVIEW = ("vocabulary", "rec", "search", "users with a positive", "items with a positive")
_WIDTH = 78  # where the values of figures stop being aligned


class AuditReport(NamedTuple):
    """What an audit found."""

    title: str
    faults: tuple[Fault, ...]
    figures: tuple[Figure, ...]
    looks: tuple[Fault, ...] = ()  # what only a person can judge; no fault by itself


def audit_dataset(dataset: Dataset) -> AuditReport:
    """Audits one split of a dataset; works on any folder, also on imported ones.

    The dataset may be loaded without verification: what is wrong is reported, not raised.
    Raises InputError only where a table cannot be read as what it should be.
    """
    tables = _read_tables(dataset)
    changed = _check_files(dataset, tables)
    log = read_log(dataset, tables)
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
    items = ItemFacts(log, rows)
    in_lists, told_of_lists, sound = check_lists(log, lists, rows, items)
    for found, told in (
        check_cuts(log, rows),
        check_copies(log, rows),
        check_histories(log, rows),
        (in_lists, told_of_lists),
    ):
        faults += found
        figures += told
    judged = judge(log, measure_dataset(log, rows, sound, items))
    faults += judged.faults
    figures += judged.figures
    title = (
        f"{dataset.name}, split {dataset.split}, history order {dataset.history_order}, "
        f"time resolution {dataset.manifest.get('time', {}).get('resolution', 'unknown')}"
    )
    return AuditReport(title, tuple(faults), tuple(figures), tuple(judged.looks))


def measure_dataset(
    log: Log, rows: Rows, lists: Mapping[tuple[str, str], Lists], items: ItemFacts
) -> list[Measure]:
    """L17 to L23: the figures that are compared with chance.

    log:   without tables columns and texts are not looked at
    rows:  (task, part) -> row numbers of positives
    lists: (task, part) -> name -> list in form
    """
    measures: list[Measure] = []
    if len(log.tables) == len(TABLES):
        for measure in (measure_texts, measure_columns, measure_moments):
            measures += measure(log, rows)
    measures += measure_twins(log, items.ever)
    measures += measure_offsets(log)
    return measures + measure_draws(log, lists, rows, items)


def _read_tables(dataset: Dataset) -> dict[str, pa.Table]:
    stored = dataset.manifest.get("tables", {})
    tables = {name: pq.read_table(dataset.path / f"{name}.parquet") for name in stored}
    return {name: conform_table(name, table) for name, table in tables.items()}


def _check_files(dataset: Dataset, tables: Mapping[str, pa.Table]) -> list[Fault]:
    """F15: tables and split files that are not what the manifest says was written.

    Raises InputError for tables with ids or lists that cannot be (F03 to F07).
    """
    stored = dataset.manifest.get("tables", {})
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


def format_report(report: AuditReport, verbose: bool = True) -> str:
    """The report as text: figures, faults and looks with the rows they name, then the verdict.

    verbose: all figures, not only what the data are
    """
    lines = [f"audit of {report.title}"]
    figures = [each for each in report.figures if verbose or each[0] in _OVERVIEW]
    width = min(_WIDTH, max((len(name) for name, _ in figures), default=0))
    lines += [f"  {name:<{width}}  {value}" for name, value in figures]
    if hidden := len(report.figures) - len(figures):
        lines.append(f"  {hidden} more figures, each within its limits or named below: --verbose")
    advice = dict(ADVICE)
    for kind, found in (("", report.faults), ("look: ", report.looks)):
        for fault in found:
            lines.append(f"  {kind}{fault.check} {fault.where}: {fault.what}: {fault.number:,}")
            lines += [f"      {advice.pop(fault.check)}"] if fault.check in advice else []
            lines += [f"      {text}" for text in fault.examples]
            if fault.number > len(fault.examples) > 0:
                lines.append(f"      and {fault.number - len(fault.examples):,} more")
    faults, looks = (_name_checks(found) for found in (report.faults, report.looks))
    verdict = f"LEAKS OR FAULTS: {faults}" if faults else "" if looks else "clean"
    lines += [f"  {verdict}"] if verdict else []
    lines += [f"  LOOK AT: {looks} (docs/audit.md)"] if looks else []
    return "\n".join(lines)


def _name_checks(found: tuple[Fault, ...]) -> str:
    return ", ".join(sorted({fault.check for fault in found}))
