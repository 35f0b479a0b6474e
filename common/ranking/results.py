"""`results.json`: every protocol with intervals, the sanity baselines, ties and speed.

A protocol that was not run is absent, never null or 0. Readers ignore keys they do not know.
`results.schema.json` beside this file says the same to other programs; `validate_results` is the
check with messages for people.

Shapes: [n] ranked rows  [K] columns
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.data.dataset import Dataset
from common.data.events import TASKS
from common.errors import InputError
from common.json_files import read_json
from common.printable import printable
from common.ranking.alarms import find_alarms
from common.ranking.intervals import RESAMPLES, bca_intervals
from common.ranking.metrics import METRICS, metrics_from_ranks
from common.ranking.protocols import Evaluation
from common.ranking.ranks import Ranks, RankTable, tie_rate
from common.ranking.sanity import place_targets

SCHEMA = 1
_MACHINE: dict[str, dict[str, type]] = {
    "device": {"platform": str, "kind": str, "count": int},
    "precision": {"products": str, "activations": str},
}
_SHOWN = 200  # characters of a key in a message
Bounds = dict[str, float]  # {"value", "low", "high"}
Table = dict[str, dict[str, dict[str, Bounds]]]  # task -> protocol -> metric -> bounds


def build_results(
    dataset: Dataset,
    evaluation: Evaluation,
    sanity: Mapping[str, Ranks],
    *,
    seed: int,
    wall_seconds: float,
    train_examples_per_second: float | None = None,
    resamples: int = RESAMPLES,
    method: str | None = None,
    stage: str | None = None,
    parameters: int | None = None,
    evidence: Mapping[str, Any] | None = None,
    slices: Mapping[str, Any] | None = None,
    origin: Mapping[str, Any] | None = None,
    device: Mapping[str, Any] | None = None,
    precision: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything that one evaluation says, ready for `write_results`.

    sanity:       {"popularity": ranks, ...}, as from `rank_baselines`
    seed:         of the run; the resampling uses it too
    wall_seconds: of the whole command; train_examples_per_second: None if nothing was trained
    method, stage, parameters (their number): about the model, kept where given
    evidence:     {"model": {"auc_flag": {value, low, high}, ...}, "random": ...}, where known
    slices:       as from `slice_ranks`, where made
    origin:       {"trained_on", "evaluated_on", "evaluation"}: the two datasets (as
                  `common.data.fingerprint.describe_data`), and the evaluation keys of the config
    device:       {"platform", "kind", "count"}: what ranked
    precision:    {"products", "activations"}: JAX's name of what float32 is multiplied with, and
                  the dtype that the model computes in
    Raises InputError when the outcome breaks the schema, e.g. by a speed that is not finite.
    """
    tables = summarize_ranks({"": evaluation.ranks, **sanity}, resamples=resamples, seed=seed)
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "dataset": {"name": dataset.name, "sha256": dataset.sha256},
        "split": dataset.split,
        "seed": seed,
        "tasks": tables.pop(""),
        "sanity": tables,
        "ties": {"rate": tie_rate(evaluation.ranks)},
        "speed": {
            "train_examples_per_second": train_examples_per_second,
            "eval_lists_per_second": evaluation.lists_per_second,
        },
        "wall_seconds": wall_seconds,
        "protocol": dict(evaluation.details),
    }
    extra = {
        "method": method,
        "stage": stage,
        "parameters": parameters,
        "evidence": evidence,
        "slices": slices,
        "device": device,
        "precision": precision,
    }
    results |= {name: value for name, value in extra.items() if value is not None}
    if "in_history" in sanity:
        results["own_history"] = place_targets(
            sanity["in_history"], evaluation.details["sizes"], resamples=resamples, seed=seed
        )
    results["alarms"] = find_alarms(results)
    results |= origin or {}
    validate_results(results)
    return results


def summarize_ranks(
    systems: Mapping[str, Ranks], *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Table]:
    """Means and 95 % intervals of all metrics: {system: {task: {protocol: {metric: bounds}}}}.

    Tables of the same rows share one bootstrap, whatever their system and protocol.
    """
    groups: dict[tuple[str, bytes], list[tuple[str, str, RankTable]]] = {}
    result: dict[str, Table] = {}
    for system, ranks in systems.items():
        result[system] = {task: {} for task in TASKS if any(task == t for t, _ in ranks)}
        for (task, protocol), table in sorted(ranks.items()):
            result[system][task][protocol] = {}  # keeps the order of protocols
            groups.setdefault((task, table.row.tobytes()), []).append((system, protocol, table))
    for (task, _), members in groups.items():
        columns = [_columns(table) for _, _, table in members]
        users = members[0][2].user
        bounds = bca_intervals(users, np.concatenate(columns, 1), resamples=resamples, seed=seed)
        triples = iter(zip(*(array.tolist() for array in bounds), strict=True))
        for system, protocol, _ in members:
            for name in METRICS:
                triple = dict(zip(("value", "low", "high"), next(triples), strict=True))
                result[system][task][protocol][name] = triple
    return result


def _columns(table: RankTable) -> np.ndarray:
    """float64 [n, K]: the nine metrics of each row, in the order of `METRICS`."""
    metrics = metrics_from_ranks(table.rank_low, table.rank_high)
    return np.stack([metrics[name] for name in METRICS], axis=1)


def recompute_values(ranks: Ranks) -> dict[str, dict[str, dict[str, float]]]:
    """The values of `results.json` from `ranks.parquet`: {task: {protocol: {metric: mean}}}."""
    values: dict[str, dict[str, dict[str, float]]] = {}
    for (task, protocol), table in ranks.items():
        means = dict(zip(METRICS, _columns(table).mean(axis=0).tolist(), strict=True))
        values.setdefault(task, {})[protocol] = means
    return values


def write_results(path: str | Path, results: Mapping[str, Any]) -> None:
    """Writes `results.json` to a temporary file beside it, then renames.

    Raises InputError when the content breaks the schema.
    """
    validate_results(results)
    path = Path(path)
    beside = path.with_name(path.name + ".tmp")
    beside.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    beside.replace(path)


def read_results(path: str | Path) -> dict[str, Any]:
    """Reads and validates a `results.json`. Raises InputError with file and key."""
    results = read_json(Path(path), "evaluate again")
    validate_results(results, where=str(path))
    return results


def validate_results(results: Any, where: str = "results.json") -> None:
    """Checks a results dict against the schema.

    Raises InputError "file, key: what; remedy" for the first fault. Unknown keys are fine.
    """

    def fail(key: str, what: str) -> None:
        shown = printable(key[:_SHOWN], keep="")  # keys are the file's own
        raise InputError(f"{where}, key {shown}: {what}; evaluate again with this version")

    def child(parent: Any, key: str, name: str, kind: type | tuple[type, ...]) -> Any:
        path = f"{key}.{name}" if key else name
        if not isinstance(parent, Mapping):
            fail(key or "(top)", "is no object")
        if name not in parent:
            fail(path, "is missing")
        if not isinstance(parent[name], kind) or isinstance(parent[name], bool):
            fail(path, f"has the wrong type, {type(parent[name]).__name__}")
        return parent[name]

    def number(parent: Any, key: str, name: str, high: float = math.inf) -> float:
        value = float(child(parent, key, name, (int, float)))
        if not math.isfinite(value) or not 0 <= value <= high:
            fail(f"{key}.{name}" if key else name, f"{value} is not a finite number in range")
        return value

    def check_table(table: Mapping[str, Any], key: str) -> None:
        for task in table:
            if task not in TASKS:
                fail(f"{key}.{task}", "is no task (rec, search)")
            for protocol in child(table, key, task, dict):
                path = f"{key}.{task}.{protocol}"
                metrics = child(table[task], f"{key}.{task}", protocol, dict)
                for metric in METRICS:
                    check_bounds(metrics, path, metric)

    def check_bounds(parent: Any, key: str, name: str) -> None:
        bounds, at = child(parent, key, name, dict), f"{key}.{name}"
        value, low, high = (number(bounds, at, n, 1) for n in ("value", "low", "high"))
        if not low <= value <= high:
            fail(at, f"bounds [{low}, {high}] do not enclose {value}")

    def check_slices(sliced: Mapping[str, Any]) -> None:
        for task, slices in sliced.items():
            for name in child(sliced, "slices", task, dict):
                for label in child(slices, f"slices.{task}", name, dict):
                    path = f"slices.{task}.{name}.{label}"
                    entry = child(slices[name], f"slices.{task}.{name}", label, dict)
                    for count in ("n", "users"):
                        child(entry, path, count, int)
                    if "protocols" not in entry:
                        continue
                    protocols, at = child(entry, path, "protocols", dict), f"{path}.protocols"
                    for protocol in protocols:
                        metrics = child(protocols, at, protocol, dict)
                        for metric in metrics:
                            check_bounds(metrics, f"{at}.{protocol}", metric)

    if child(results, "", "schema", int) != SCHEMA:
        fail("schema", f"{results['schema']} is not {SCHEMA}")
    dataset = child(results, "", "dataset", dict)
    for name in ("name", "sha256"):
        child(dataset, "dataset", name, str)
    child(results, "", "split", str)
    child(results, "", "seed", int)
    if "protocol" in results:
        child(results, "", "protocol", dict)
    if not child(results, "", "tasks", dict):
        fail("tasks", "is empty")
    check_table(results["tasks"], "tasks")
    for baseline in child(results, "", "sanity", dict):
        check_table(child(results["sanity"], "sanity", baseline, dict), f"sanity.{baseline}")
    number(child(results, "", "ties", dict), "ties", "rate", 1)
    speed = child(results, "", "speed", dict)
    number(speed, "speed", "eval_lists_per_second")
    if child(speed, "speed", "train_examples_per_second", (int, float, type(None))) is not None:
        number(speed, "speed", "train_examples_per_second")
    number(results, "", "wall_seconds")
    # Absent from files of versions before this one.
    for group, names in _MACHINE.items():
        if group in results:
            about = child(results, "", group, dict)
            for name, kind in names.items():
                child(about, group, name, kind)
    if "slices" in results:
        check_slices(child(results, "", "slices", dict))
    for where in child(results, "", "own_history", dict) if "own_history" in results else ():
        check_bounds(results["own_history"], "own_history", where)
    for alarm in child(results, "", "alarms", list) if "alarms" in results else ():
        for name in ("alarm", "where", "says"):
            child(alarm, "alarms", name, str)
