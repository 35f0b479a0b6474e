"""Which runs may stand in one table: trained on the same data, and judged alike on the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from common.data.fingerprint import Parts, find_differences, read_parts, select_parts, sum_up
from common.errors import InputError
from common.ranking.ranks import RankTable

TRAINED, JUDGED = "trained_on", "evaluated_on"  # keys of results.json


class Run(NamedTuple):
    """One finished run as the comparison sees it."""

    path: str
    results: Mapping[str, Any]  # of results.json
    table: RankTable  # of ranks.parquet, the compared task and protocol


def check_same(runs: Sequence[Run], task: str, protocol: str) -> None:
    """Raises InputError unless all runs ranked the same rows of the same data in the same way.

    The test lists of the task are part of that data, whatever the protocol. The lists that stop a
    training may differ between methods (not between the seeds of one, see `check_seeds`).
    """
    first = runs[0]
    expected = _describe(first, task, protocol)
    for run in runs:
        _check_data(run, first, TRAINED, "", "give runs on other data a table of their own")
        mend = "judge both on one dataset, by --mode=evaluate, or give each a table of its own"
        _check_data(run, first, JUDGED, f".{task}.test", mend)
    for run in runs[1:]:
        for what, value in _describe(run, task, protocol).items():
            if value != expected[what]:
                raise InputError(
                    f"{run.path}: {what} is {value}, but {expected[what]} in {first.path}; "
                    "compare runs of one dataset, split and protocol"
                )
        if not (
            np.array_equal(run.table.row, first.table.row)
            and np.array_equal(run.table.user, first.table.user)
        ):
            raise InputError(
                f"{run.path}: the ranked rows are not those of {first.path}; evaluate both again "
                "on the same split and min_history"
            )


def check_seeds(name: str, runs: Sequence[Run]) -> None:
    """Raises InputError when a method has no run, has a seed twice (a copy adds nothing), or when
    the validation lists of its seeds differ."""
    if not runs:
        raise InputError(f"--run={name}: no run; give at least one workdir")
    known: dict[int, str] = {}
    for run in runs:
        seed = run.results["seed"]
        if seed in known:
            raise InputError(
                f"--run={name}: {known[seed]} and {run.path} both have seed {seed}; leave one out"
            )
        known[seed] = run.path
        _check_data(run, runs[0], TRAINED, ".valid", "give each its own --run")


def _check_data(run: Run, first: Run, key: str, lists: str, mend: str) -> None:
    """Raises InputError where a run was trained (or judged) on other data than the first.

    key: TRAINED or JUDGED; lists: how the names of the lists that matter end, "" = none does
    """
    theirs, ours = (_read_parts(each, key, lists) for each in (first, run))
    if found := find_differences(theirs, ours):
        raise InputError(
            f"{run.path}: was {key.replace('_', ' ')} other data than {first.path}: "
            f"{sum_up(found)}; {mend}"
        )


def _read_parts(run: Run, key: str, lists: str) -> Parts:
    where = f"{run.path}/results.json, key {key}"
    parts = read_parts(run.results.get(key), where, "evaluate again with --mode=evaluate")
    chosen = [n for n in parts if lists and n.startswith("list.") and n.endswith(lists)]
    return select_parts(parts, lists=chosen)


def _describe(run: Run, task: str, protocol: str) -> dict[str, Any]:
    """What must be equal between runs beside the data, by the name that a message gives it."""
    details = run.results.get("protocol", {})
    facts = {
        **{name: details.get(name) for name in ("part", "min_history")},
        "number of ranked rows": len(run.table.row),
    }
    if protocol == "full":
        facts["filter_seen"] = details.get("filter_seen")
    else:
        candidates = details.get("candidates", {}).get(f"{task}/{protocol}")
        facts[f"candidates of {task}/{protocol}"] = str(candidates)[:12]
    return facts
