"""Several runs per method as one table: means over seeds, and paired differences to a reference.

Two kinds of noise are kept apart. The intervals and p-values are over users, with the trained
models held fixed: each row's metric is first averaged over the seeds of its method. What another
training run would change is shown beside them, by the standard deviation over seeds.

Shapes: [n] ranked rows  [S] seeds  [K] columns
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from common.errors import InputError
from common.ranking.comparable import Run, check_same, check_seeds
from common.ranking.evidence import FIGURES
from common.ranking.intervals import FLIPS, Comparison, bca_intervals, compare_columns
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import RankTable

RESAMPLES = 10_000  # of published tables
SCORERS = ("model", "swapped")  # of the evidence figures: the model, and its control


def compare_methods(
    methods: Mapping[str, Sequence[Run]],
    reference: str,
    task: str,
    protocol: str,
    metrics: Sequence[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    flips: int = FLIPS,
) -> dict[str, Any]:
    """Everything that the table says, as a JSON-able dict.

    methods: {name: its runs, one per seed}, at least one run each
    Returns {"task", "protocol", "split", "dataset", "trained_on", "evaluated_on", "rows", "users",
    "reference", "metrics", "resamples", "flips", "methods": {name: {"runs", "seeds", "metrics",
    "differences", "evidence"}}}. `metrics`: {metric: {value, low, high, by_seed, seed_sd}};
    `differences` (not for the reference): {metric: {value, low, high, p, p_holm, relative, effect,
    better, equal, worse, seed_se}}, the method minus the reference; `evidence` (where the runs
    have it): {scorer: {figure: {value, lowest}}}, mean over seeds and the lowest bound. What cannot
    be said (a spread of one seed) is None.
    Raises InputError when two runs cannot be compared, naming both and what differs.
    """
    if reference not in methods:
        raise InputError(f"--against={reference}: no such method; use one of {', '.join(methods)}")
    check_same([run for runs in methods.values() for run in runs], task, protocol)
    for name, runs in methods.items():
        check_seeds(name, runs)
    users = methods[reference][0].table.user
    by_seed = {  # float64 [S, n, K] of each method
        name: np.stack([_rows(run.table, metrics) for run in runs])
        for name, runs in methods.items()
    }
    columns = np.concatenate([values.mean(axis=0) for values in by_seed.values()], axis=1)
    bounds = bca_intervals(users, columns, resamples=resamples, seed=seed)
    triples = iter(zip(*(part.tolist() for part in bounds), strict=True))
    described: dict[str, dict[str, Any]] = {}
    for name, values in by_seed.items():
        means = values.mean(axis=1)  # [S, K]
        described[name] = {
            "runs": [run.path for run in methods[name]],
            "seeds": [run.results["seed"] for run in methods[name]],
            "metrics": {
                metric: {
                    **dict(zip(("value", "low", "high"), next(triples), strict=True)),
                    "by_seed": means[:, index].tolist(),
                    "seed_sd": _deviate(means[:, index]),
                }
                for index, metric in enumerate(metrics)
            },
            "evidence": average_evidence([run.results for run in methods[name]]),
        }
    _add_differences(described, by_seed, users, reference, metrics, seed, resamples, flips)
    first = methods[reference][0].results
    return {
        "task": task,
        "protocol": protocol,
        "split": first["split"],
        "dataset": dict(first["dataset"]),
        "trained_on": dict(first["trained_on"]),
        "evaluated_on": dict(first["evaluated_on"]),
        "rows": len(users),
        "users": len(np.unique(users)),
        "reference": reference,
        "metrics": list(metrics),
        "resamples": resamples,
        "flips": flips,
        "methods": described,
    }


def _rows(table: RankTable, metrics: Sequence[str]) -> np.ndarray:
    """float64 [n, K]: the metrics of each row."""
    values = metrics_from_ranks(table.rank_low, table.rank_high)
    return np.stack([values[name] for name in metrics], axis=1)


def _deviate(values: np.ndarray) -> float | None:
    """Standard deviation over seeds [S]; None for a single one."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _add_differences(
    described: dict[str, dict[str, Any]],
    by_seed: Mapping[str, np.ndarray],
    users: np.ndarray,
    reference: str,
    metrics: Sequence[str],
    seed: int,
    resamples: int,
    flips: int,
) -> None:
    """Adds "differences" to every method but the reference: all columns share their draws."""
    others = [name for name in by_seed if name != reference]
    if not others:
        return
    base = by_seed[reference].mean(axis=0)
    compared = compare_columns(
        users,
        np.concatenate([base] * len(others), axis=1),
        np.concatenate([by_seed[name].mean(axis=0) for name in others], axis=1),
        seed=seed,
        resamples=resamples,
        flips=flips,
    )
    adjusted = adjust_holm([entry.p_value for entry in compared])
    pairs = iter(zip(compared, adjusted, strict=True))
    ours = described[reference]["metrics"]
    for name in others:
        theirs = described[name]["metrics"]
        described[name]["differences"] = {
            metric: _difference(*next(pairs), _standard_error(ours[metric], theirs[metric]))
            for metric in metrics
        }


def _difference(entry: Comparison, p_holm: float, seed_se: float | None) -> dict[str, Any]:
    plain = {
        "value": entry.difference,
        "low": entry.low,
        "high": entry.high,
        "p": entry.p_value,
        "p_holm": p_holm,
        **{n: getattr(entry, n) for n in ("relative", "effect", "better", "equal", "worse")},
        "seed_se": seed_se,
    }
    return {k: None if v is None or math.isnan(v) else v for k, v in plain.items()}


def _standard_error(*sides: Mapping[str, Any]) -> float | None:
    """Standard error of a difference of two means over seeds; a sole seed tells none."""
    if any(side["seed_sd"] is None for side in sides):
        return None
    return math.sqrt(sum(side["seed_sd"] ** 2 / len(side["by_seed"]) for side in sides))


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for how many comparisons there are, in the given order.

    Source: Holm, Scandinavian Journal of Statistics 6 (1979).
    """
    order = np.argsort(p_values, kind="stable")
    adjusted, least = [0.0] * len(order), 0.0
    for place, index in enumerate(order):
        least = max(least, min(1.0, (len(order) - place) * p_values[index]))
        adjusted[index] = least
    return adjusted


def average_evidence(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The evidence figures of a method: {scorer: {figure: {"value", "lowest"}}}.

    value: mean over seeds; lowest: the lowest lower bound of any seed. A scorer or figure that
    one of the runs lacks is left out.
    """
    summary: dict[str, Any] = {}
    for scorer in SCORERS:
        for figure in FIGURES:
            entries = [run.get("evidence", {}).get(scorer, {}).get(figure, {}) for run in results]
            if all(entry.get("value") is not None for entry in entries):
                summary.setdefault(scorer, {})[figure] = {
                    "value": float(np.mean([entry["value"] for entry in entries])),
                    "lowest": min(float(entry["low"]) for entry in entries),
                }
    return summary


def find_doubts(comparison: Mapping[str, Any]) -> list[str]:
    """A note for every difference that users confirm and that other seeds might still undo."""
    return [
        f"{name} minus {comparison['reference']}, {metric}: the interval leaves 0 out, but the "
        "difference is below two standard errors over seeds; train more seeds."
        for name, method in comparison["methods"].items()
        for metric, entry in method.get("differences", {}).items()
        if entry["seed_se"] is not None
        and not entry["low"] <= 0 <= entry["high"]
        and abs(entry["value"]) < 2 * entry["seed_se"]
    ]
