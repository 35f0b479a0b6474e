"""One run from a configuration to results.json: load, train, evaluate, report."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax.sharding import Mesh

from common.data.batches import training_source
from common.data.dataset import Dataset
from common.data.fingerprint import describe_data, select_parts
from common.data.folder import load_dataset
from common.data.sequences import sequence_source
from common.errors import InputError
from common.ranking.report import find_problems
from common.ranking.rows import choose_rows
from common.runs.evaluate_on import open_other, tell_data
from common.runs.folder import check_workdir, claim_workdir, holding
from common.runs.judging import evaluate_method
from common.runs.methods import settle
from common.runs.retriever import attach_retriever
from common.runs.tasks import build_task, take_batch, take_stage_batch
from common.runs.validation import name_judging_lists, open_validators, settle_metrics
from common.runs.workdirs import is_finished
from common.settings.reading import as_values, take_fields
from common.settings.roles import describe_evaluation, select_settings
from common.training.check_task import check_task
from common.training.checkpoints import list_steps
from common.training.loop import TrainResult, train
from common.training.mesh import (
    check_batch_size,
    copy_batch,
    find_part,
    read_mesh,
)
from common.training.processes import is_first, meet, tell
from common.training.resident import choose_columns
from common.training.restore import load_trained
from common.training.settings import TrainSettings
from common.training.sharding import pad_task
from common.training.stage_loop import Source, check_batch
from common.training.start import check_start
from common.training.step import init_params, place_key
from common.training.task import Stage, Task


def run_method(
    config: Any,
    workdir: Path,
    *,
    mode: str = "train",
    strict: bool = False,
    tensorboard: bool,
    evaluate_on: str = "",
) -> int:
    """Trains (mode "train") and evaluates one method; writes results.json and ranks.parquet.

    config: settings, or a configuration
    evaluate_on: for mode "evaluate", folder of another dataset to judge on; "" = its own
    A method without stages has nothing to train and is evaluated in either mode.
    Returns the exit code of the command. Raises InputError for bad input, FloatingPointError when
    a loss or a score is not finite, WriteError for what cannot be written.
    """
    with ExitStack() as held:
        return _run(
            settle(config),
            workdir,
            held,
            mode=mode,
            strict=strict,
            tensorboard=tensorboard,
            evaluate_on=evaluate_on,
        )


def _run(
    settings: Any,
    workdir: Path,
    held: ExitStack,
    *,
    mode: str,
    strict: bool,
    tensorboard: bool,
    evaluate_on: str,
) -> int:
    """As `run_method`. held: takes the workdir's lock, when the first thing is to be written."""
    started = time.time()
    use_compilation_cache()
    if not settings.data.path:
        raise InputError("config.data.path: missing; give a folder made by launch.prepare")
    dataset = load_dataset(Path(settings.data.path), settings.data.split)
    task = build_task(settings, dataset)
    if mode == "evaluate" and not (workdir / "config.json").exists():
        raise InputError(f"{workdir}: no run to evaluate; train first, or give another --workdir")
    evaluates = mode == "evaluate"
    if evaluates and is_first():
        held.enter_context(holding(workdir))
    if not evaluates:
        task = settle_metrics(settings, task, dataset)
    data, lists = describe_data(dataset), name_judging_lists(task, dataset.split)
    trained_on = check_workdir(
        workdir, settings, data, lists=() if evaluates else lists, evaluates=evaluates
    )
    judged = open_other(evaluate_on, dataset) if evaluate_on else dataset
    for served in task.tasks:  # nothing to rank: better known now than after training
        choose_rows(judged, served, "test", task.view.min_history)
    mesh = read_mesh(settings.mesh)
    for stage in task.stages:
        check_batch(stage, mesh, settings.accumulate)
    check_batch_size(mesh, max(settings.eval.batch_size, 2), "config.eval.batch_size")
    task = pad_task(task, mesh, take_batch(task, dataset))
    check_task(
        task,
        take_batch(task, dataset),
        lambda stage: take_stage_batch(stage, task, dataset),
        evidence=settings.eval.evidence,
    )
    task = attach_retriever(settings, task, dataset, mesh)
    fingerprint = {
        "method": settings.method,
        "data": select_parts(data["parts"], lists=lists),
        "config": select_settings(settings, as_values(settings)),
    }
    trained_rate, model = None, {}
    if not task.stages:
        if not evaluates:
            trained_on = _claim(held, workdir, settings, data, lists)
        batch = copy_batch(mesh, take_batch(task, dataset))
        params, constants = init_params(task, place_key(settings.seed, "init", mesh), batch, mesh)
    elif not evaluates:
        tell(describe(task, dataset, workdir, mesh))
        open_source, lines = open_sources(settings, task, dataset, mesh)
        tell("\n".join(lines))

        open_validator = open_validators(settings, task, dataset, mesh)
        pace = take_fields(TrainSettings, settings, settings.train, tensorboard=tensorboard)
        if task.start and not is_finished(Path(task.start)):
            raise InputError(f"{task.start}: not a finished run; let it finish, or start elsewhere")
        check_start(task, take_batch(task, dataset), fingerprint)
        if task.check_pretrained is not None and not (workdir / "checkpoints").exists():
            task.check_pretrained()
        # Bad input has left nothing behind so far.
        trained_on = _claim(held, workdir, settings, data, lists)
        result = train(
            task,
            open_source,
            open_validator,
            pace,
            workdir,
            settings.seed,
            mesh,
            fingerprint=fingerprint,
        )
        if result.interrupted:
            saved = result.global_step in list_steps(workdir / "checkpoints")
            what = f"saved at step {result.global_step}" if saved else "nothing to save yet"
            tell(f"{result.interrupted}: {what}; start the same command again to go on")
            return 128 + int(getattr(signal, result.interrupted))
        params, constants, trained_rate = (
            result.params,
            result.constants,
            result.examples_per_second,
        )
        last = result.stages[-1]
        model = describe_model(last.best_step, True, last.metric, last.best_value)
        tell(
            f"trained {result.global_step} steps: {result.examples_per_second:,.0f} examples/s, "
            f"{result.wait_share:.1%} of the time waiting for data; {say_end(result)}; "
            f"judging the checkpoint of step {last.best_step}"
        )
    else:
        shapes = take_batch(task, dataset)
        params, constants, progress = load_trained(
            task,
            shapes,
            workdir,
            settings.seed,
            mesh,
            data=select_parts(data["parts"]),
            config=select_settings(settings, as_values(settings), evaluates=True),
        )
        left = "" if progress.ended else "; its training has not come to its end"
        tell(f"judging the checkpoint of step {progress.global_step}{left}")
        own = progress.best_value if progress.best_step == progress.global_step else None
        metric = task.stages[-1].stopping.metric
        model = describe_model(progress.global_step, progress.ended, metric, own)
    assert trained_on is not None  # a workdir without it was refused or claimed
    origin = {
        "trained_on": trained_on,
        "evaluated_on": describe_data(judged),
        "evaluation": describe_evaluation(settings),
        "model": model,
    }
    if line := tell_data(origin):
        tell(line)
    results = evaluate_method(
        settings, task, judged, params, constants, workdir, trained_rate, started,
        mesh, origin, dataset,
    )  # fmt: skip
    tell(f"results: {workdir / 'results.json'}")
    return 1 if strict and find_problems(results) else 0


def open_sources(
    settings: Any, task: Task, dataset: Dataset, mesh: Mesh
) -> tuple[Callable[[Stage], Source], list[str]]:
    """Where the stages' batches come from: open_source(stage), and a line for each stage.

    Raises InputError for a `config.resident` that cannot be.
    """
    chosen = {
        stage.name: choose_columns(settings.resident, dataset.timeline, stage.view, mesh)
        for stage in task.stages
    }
    lines = [
        f"{name}: batches gathered on the {'host' if columns is None else 'device'} ({why})"
        for name, (columns, why) in chosen.items()
    ]

    def open_source(stage: Stage) -> Source:
        sizes = (stage.batch_size, settings.seed, stage.epochs, *find_part(mesh))
        if stage.view.packed:
            return sequence_source(dataset, stage.view, *sizes)
        columns, _ = chosen[stage.name]
        return training_source(dataset, stage.view, *sizes, resident=columns)

    return open_source, lines


def describe(task: Task, dataset: Dataset, workdir: Path, mesh: Mesh) -> str:
    """What is about to run, in one line."""
    stages = " -> ".join(stage.name for stage in task.stages)
    events = sum(len(dataset.rows[served, "train"]) for served in task.tasks)
    return (
        f"{task.name} ({stages}) on {dataset.name}, {dataset.split}, history by "
        f"{dataset.history_order}; {events:,} training events, "
        f"{dataset.n_items:,} items; {mesh.size} of {jax.device_count()} "
        f"{jax.default_backend()} device(s); {workdir}"
    )


def describe_model(step: int, finished: bool, metric: str, value: float | None) -> dict[str, Any]:
    """Which parameters were judged: their step, whether training has come to its end, and what
    the validation part said of them, where it is known."""
    known = {} if value is None else {"validation": {metric: value}}
    return {"step": step, "finished": finished, **known}


def say_end(result: TrainResult) -> str:
    """Why the last stage ended."""
    last = result.stages[-1]
    early = last.ended_by == "patience"
    return f"ended early, without a gain in {last.metric}" if early else "ended by epochs"


def _claim(
    held: ExitStack,
    workdir: Path,
    settings: Any,
    data: Mapping[str, Any],
    lists: Collection[str],
) -> dict[str, Any] | None:
    """As `claim_workdir`, with its lock, once for all processes: the first holds it.

    Returns what the run was trained on.
    """
    if is_first():
        held.enter_context(holding(workdir))
        claim_workdir(workdir, settings, data, lists)
    meet("workdir")
    return check_workdir(workdir, settings, data, lists=lists)


def use_compilation_cache() -> None:
    """Keeps compiled programs between runs: a bonus, never needed for a result.

    By version of jaxlib, which has the compiler: another one could not read them.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return  # the user's own choice
    try:
        home = Path.home()
    except RuntimeError:  # no HOME, and a user id that has no name: a container, often
        return
    folder = home / ".cache" / "snr_jax" / f"jaxlib-{jaxlib.__version__}"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
