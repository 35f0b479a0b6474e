"""What a run has been judged to be: its results and the ranks that they were made of."""

from __future__ import annotations

import sys
from pathlib import Path

from common.errors import InputError
from common.ranking.comparable import Run
from common.ranking.metrics import metrics_from_ranks
from common.ranking.ranks import read_ranks
from common.ranking.results import read_results
from common.runs.workdirs import is_finished


def read_ranked(path: Path, task: str, protocol: str) -> Run:
    """The results and ranks of one workdir.

    Raises InputError when a file is missing, when the task or protocol was not ranked, and when
    the two files are not of the same evaluation.
    """
    for name in ("results.json", "ranks.parquet"):
        if not (path / name).is_file():
            raise InputError(f"{path}: no {name}; train and evaluate with launch.main first")
    results = read_results(path / "results.json")
    if not is_finished(path):
        print(f"warning: {path}: was judged before its training had ended", file=sys.stderr)
    ranks = read_ranks(path / "ranks.parquet")
    if (task, protocol) not in ranks or protocol not in results["tasks"].get(task, {}):
        known = ", ".join(f"{task}/{protocol}" for task, protocol in ranks)
        raise InputError(f"{path}: {task}/{protocol} was not ranked; it has {known}")
    table = ranks[task, protocol]
    for metric, values in metrics_from_ranks(table.rank_low, table.rank_high).items():
        written = results["tasks"][task][protocol][metric]["value"]
        if abs(values.mean() - written) > 1e-9:
            raise InputError(
                f"{path}: results.json says {metric} {written:.6f}, ranks.parquet "
                f"{values.mean():.6f}; evaluate again with --mode=evaluate"
            )
    return Run(str(path), results, table)
