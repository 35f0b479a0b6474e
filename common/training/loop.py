"""Training a task: its stages in order, going on from a checkpoint where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh

from common.errors import InputError
from common.training.checkpoints import Checkpoints
from common.training.fit import describe_identities
from common.training.interrupts import catch_signals
from common.training.logbook import Logbook
from common.training.mesh import put_batch
from common.training.optimizers import make_updater
from common.training.pretrained import take_pretrained
from common.training.resident import put_resident
from common.training.restore import load_params, restore_newest, settle_best
from common.training.settings import TrainSettings
from common.training.sharding import place_shapes
from common.training.stage_loop import Iterate, Source, StageRun, Validate, run_stage
from common.training.start import find_start, load_start
from common.training.state import Progress, StageSummary, TrainState
from common.training.step import (
    describe_state,
    init_params,
    init_state,
    place_key,
    prepare_constants,
)
from common.training.stopwatch import measure_rate
from common.training.task import Constants, Params, Stage, Task


class TrainResult(NamedTuple):
    """What training leaves."""

    params: Params  # the best of the last stage, or the current ones if interrupted
    constants: Constants  # of the same stage
    stages: tuple[StageSummary, ...]  # the finished ones
    global_step: int  # updates done over all stages
    # Training rows without padding per second of step time: without each start's first, compiling
    # step, and without evaluating and saving. Interrupted runs add up.
    examples_per_second: float
    wait_share: float  # of the step time: waiting for the next batch
    train_seconds: float
    interrupted: str | None  # "SIGINT" or "SIGTERM"


def train(
    task: Task,
    open_source: Callable[[Stage], Source],
    open_validator: Callable[[Stage], Validate],
    settings: TrainSettings,
    workdir: Path,
    seed: int,
    mesh: Mesh,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    iterate: Iterate | None = None,
) -> TrainResult:
    """Trains all stages of a task; a run is a function of (config, dataset, seed).

    open_source(stage) -> the stage's batches, as `common.data.batches.training_source` makes them
    open_validator(stage) -> validate(params, constants) -> {metric name: value}, which is called
        between the steps of that stage
    workdir: gets checkpoints/, metrics.jsonl and tensorboard/; if it has checkpoints the run goes
        on from the newest, with the numbers an uninterrupted run would have had
    fingerprint: what the run is a function of, as a JSON-able dict; going on from a checkpoint
        with another one is refused. The seed and the task's identities are added to it.
    iterate(source, start) -> batches from step `start`; by default `common.data.batches.iterate`

    Each stage starts from the best parameters of the one before, with a fresh optimiser and the
    constants that its `prepare` makes of them; the first one from those of the run at `task.start`,
    if there is one. A first SIGINT or SIGTERM saves at the next step border and returns.
    Raises InputError for bad settings and for checkpoints that do not fit, TrainingDiverged when a
    loss or norm is not finite.
    """
    check_stages(task)
    workdir = Path(workdir).resolve()
    full_fingerprint = {**(fingerprint or {}), "seed": seed, **describe_identities(task)}
    start = find_start(task, full_fingerprint) if task.start else None
    if start is not None:
        full_fingerprint["start"] = start.identity
    sources: dict[int, Source] = {}

    def source_of(index: int) -> Source:
        if index not in sources:
            sources[index] = open_source(task.stages[index])
            if len(sources[index]) == 0:
                name = task.stages[index].name
                raise InputError(f"stage {name}: no batch to train on; check epochs and the split")
        return sources[index]

    with catch_signals() as caught, Checkpoints(workdir / "checkpoints") as checkpoints:
        batch = put_batch(mesh, source_of(0)[0])
        if resident := put_resident(task.stages[0].view, source_of(0).resident, mesh):
            batch = resident.expand(batch)
        params, constants = init_params(task, place_key(seed, "init", mesh), batch, mesh)
        shapes = place_shapes(params, mesh, params)

        def describe(progress: Progress) -> TrainState:
            if progress.stage >= len(task.stages):
                raise InputError(
                    f"{workdir}: is at stage {progress.stage_name}, number {progress.stage + 1} of "
                    f"{len(task.stages)}; use another --workdir"
                )
            stage = task.stages[progress.stage]
            updater = make_updater(stage, shapes, len(source_of(progress.stage)))
            return describe_state(shapes, updater, mesh, stage.keeps_start)

        state: TrainState | None = None
        progress = Progress(stage_name=task.stages[0].name, rows=dict(task.rows))
        if found := restore_newest(
            checkpoints, describe, full_fingerprint, task.identities, task.rows
        ):
            state, progress = found
            params = state.params  # lets go of the fresh ones
            check_position(workdir, source_of(progress.stage), progress)
        elif start is not None:
            params = load_start(start, shapes, task.rows)
        elif task.pretrained is not None:
            params = take_pretrained(task, params)

        evaluated = progress.evaluated_step == progress.step
        with Logbook(workdir, progress.global_step, evaluated, settings.tensorboard) as logbook:
            while True:
                stage, source = task.stages[progress.stage], source_of(progress.stage)
                updater = make_updater(stage, shapes, len(source))
                if state is None:
                    state = init_state(params, updater, mesh, stage.keeps_start)
                run = StageRun(
                    constants=prepare_constants(stage, state.params, constants, mesh),
                    resident=put_resident(stage.view, source.resident, mesh),
                    validate=open_validator(stage),
                    iterate=iterate or default_iterate(),
                    settings=settings,
                    fingerprint=full_fingerprint,
                    seed=seed,
                    mesh=mesh,
                    checkpoints=checkpoints,
                    logbook=logbook,
                    caught=caught,
                )
                state, progress, signal = run_stage(run, stage, source, updater, state, progress)
                checkpoints.wait()
                if signal is not None:
                    params = state.params
                    break
                if progress.best_step != progress.global_step:
                    progress = settle_best(checkpoints, progress)
                params = take_best(checkpoints, state, progress, shapes)
                progress = finish_stage(progress, stage)
                if progress.stage == len(task.stages):
                    break
                progress = replace(progress, stage_name=task.stages[progress.stage].name)
                state = None
    return TrainResult(
        params=params,
        constants=run.constants,
        stages=progress.stages,
        global_step=progress.global_step,
        examples_per_second=measure_rate(progress.timed_examples, progress.train_seconds),
        wait_share=measure_rate(progress.wait_seconds, progress.train_seconds),
        train_seconds=progress.train_seconds,
        interrupted=signal,
    )


def take_best(
    checkpoints: Checkpoints, state: TrainState, progress: Progress, shapes: Params
) -> Params:
    """The best parameters of a finished stage, from disk where they are not the current ones.

    Raises InputError where they can no longer be read.
    """
    if progress.best_step == progress.global_step:
        return state.params
    if progress.best_step is None:
        raise InputError(
            f"{checkpoints.folder}: nothing is left of the best of stage {progress.stage_name}; "
            "start the same command again: the last checkpoint is then judged anew"
        )
    return load_params(checkpoints.folder / str(progress.best_step), shapes)


def finish_stage(progress: Progress, stage: Stage) -> Progress:
    """The progress at the border after a stage: its summary booked, everything else at the start.

    The last checkpoint is the one of the stage's end; going on from it comes by here again.
    """
    assert progress.best_value is not None  # a stage evaluates at its end
    assert progress.best_step is not None
    summary = StageSummary(
        name=stage.name,
        steps=progress.step,
        metric=stage.stopping.metric,
        best_value=progress.best_value,
        best_step=progress.best_step,
        ended_by="patience" if progress.stopped else "epochs",
        rate_scale=progress.rate_scale,
    )
    return Progress(
        stage=progress.stage + 1,
        stage_start=progress.global_step,
        train_seconds=progress.train_seconds,
        wait_seconds=progress.wait_seconds,
        timed_examples=progress.timed_examples,
        earlier_seconds=progress.train_seconds,
        earlier_wait_seconds=progress.wait_seconds,
        earlier_examples=progress.timed_examples,
        stages=(*progress.stages, summary),
        rows=progress.rows,
    )


def check_stages(task: Task) -> None:
    """Raises InputError unless a task has stages of different names."""
    names = [stage.name for stage in task.stages]
    if not names or len(set(names)) < len(names):
        raise InputError(f"task {task.name}, stages {names}: give one or more, of different names")


def check_position(workdir: Path, source: Source, progress: Progress) -> None:
    """Raises InputError when the data source counts differently from the checkpoint."""
    position = source.position(progress.step)
    if position != progress.position:
        raise InputError(
            f"{workdir}: step {progress.step} of stage {progress.stage_name} was at data position "
            f"{progress.position} and is now at {position}; use the same dataset and batch_size, "
            "or another --workdir"
        )


def default_iterate() -> Iterate:
    """The batches through grain, which is slow to import and not needed by a caller's own."""
    from common.data.batches import iterate

    return iterate
