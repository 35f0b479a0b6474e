"""How the stages of a run are judged between their steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.data.fingerprint import name_list
from common.errors import InputError
from common.ranking.metrics import METRICS
from common.ranking.plans import FULL
from common.ranking.protocols import Validator, make_validator
from common.settings.reading import as_values, flatten
from common.training.mesh import fetch, spread_batch
from common.training.processes import tell
from common.training.task import Stage, Task, judge_as, ranks_catalogue


def settle_metrics(config: Any, task: Task, dataset: Dataset) -> Task:
    """The task with stages that are judged by what the dataset has.

    Without any candidate list (`launch.prepare --negatives=0`) a stage that a list would judge is
    judged by the full ranking, which is told; config.json keeps what was asked for.
    Raises InputError naming the configuration's key for a list that is not among those there are,
    and where there are none and the full catalogue is not ranked.
    """
    lists = dataset.manifest["candidates"].get(dataset.split, {})

    def settle(stage: Stage) -> Stage:
        metric = stage.stopping.metric
        served, protocol, name = metric.split("/") if metric.count("/") == 2 else ("", "", "")
        if protocol == FULL or served not in (*task.tasks, "mean") or name not in METRICS:
            return stage  # `choose_protocols` says what is wrong with it
        judged = judge_as(task, stage)
        needed = task.tasks if served == "mean" else (served,)
        wanted = [f"{one}_valid" for one in needed]
        if all(part in lists.get(protocol, ()) for part in wanted):
            return stage
        key, full = _find_key(config, metric), f"{served}/{FULL}/{name}"
        known = [kind for kind, files in lists.items() if all(part in files for part in wanted)]
        ranked = all(ranks_catalogue(judged, one) for one in needed)
        where = f"{key}: {metric!r} needs the candidate lists {protocol}, {dataset.path} has"
        if lists or not ranked:
            use = ", ".join([*known, *([FULL] if ranked else [])])
            has = f"{', '.join(lists) or 'none'} for {dataset.split}"
            mend = f"use {use}" if use else f"{task.name} ranks no catalogue; prepare it with lists"
            raise InputError(f"{where} {has}; {mend}")
        tell(f"{where} none: judged by {full}")
        return stage._replace(stopping=replace(stage.stopping, metric=full))

    return task._replace(stages=tuple(settle(stage) for stage in task.stages))


def _find_key(config: Any, metric: str) -> str:
    """The key that asks for a metric, e.g. "config.cf.metric"."""
    keys = [key for key, value in flatten(as_values(config)).items() if value == metric]
    return " and ".join(f"config.{key}" for key in keys) or "config.train.metric"


def open_validators(
    config: Any, task: Task, dataset: Dataset, mesh: Mesh
) -> Callable[[Stage], Validator]:
    """The validators of all stages, by stage; stages that score in the same way share one.

    Raises InputError for a metric that validation will not have.
    """
    groups: dict[Any, list[Stage]] = {}
    for stage in task.stages:
        groups.setdefault((stage.score, stage.score_catalogue), []).append(stage)
    validators = {}
    for scores, stages in groups.items():
        judged = judge_as(task, stages[0])
        validators[scores] = make_validator(
            judged,
            dataset,
            protocols=choose_protocols(judged, stages),
            batch_size=config.eval.batch_size,
            filter_seen=config.eval.filter_seen,
            put_batch=partial(spread_batch, mesh),
            fetch=partial(fetch, mesh),
        )
    return lambda stage: validators[stage.score, stage.score_catalogue]


def name_judging_lists(task: Task, split: str) -> list[str]:
    """The stored lists that the stages are judged by, as `common.data.fingerprint` names them."""
    metrics = [stage.stopping.metric.split("/") for stage in task.stages]
    kinds = {words[1] for words in metrics if len(words) == 3} - {FULL}
    return [name_list(split, kind, served, "valid") for kind in kinds for served in task.tasks]


def choose_protocols(task: Task, stages: Sequence[Stage]) -> list[str]:
    """The protocols of the metrics that the stages are judged by, as "task/protocol/metric".

    Raises InputError for a metric that validation will not have.
    """
    protocols = set()
    for metric in (stage.stopping.metric for stage in stages):
        if metric.count("/") != 2:
            raise InputError(
                f"config.train.metric: {metric!r} is not of the form task/protocol/metric, "
                "such as rec/full/NDCG@10"
            )
        served, protocol, name = metric.split("/")
        if name not in METRICS or served not in (*task.tasks, "mean"):
            known = [f"{served}/{protocol}/{name}" for served in task.tasks for name in METRICS]
            raise InputError(
                f"config.train.metric: no metric {metric!r}; use one of {', '.join(known)}"
            )
        if protocol == FULL and not all(
            ranks_catalogue(task, name) for name in (task.tasks if served == "mean" else (served,))
        ):
            raise InputError(
                f"config.train.metric: no metric {metric!r}: nothing ranks the whole catalogue; "
                "judge by a stored list"
            )
        protocols.add(protocol)
    return sorted(protocols)
