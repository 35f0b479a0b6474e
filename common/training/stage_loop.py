"""The loop of one stage. Its order is a contract: evaluate, save, next batch, probe, step, log."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.histories import Columns
from common.errors import InputError
from common.training.checkpoints import Checkpoints
from common.training.interrupts import Caught
from common.training.late_metrics import LateMetrics
from common.training.logbook import Logbook
from common.training.mesh import check_batch_size, put_batches, put_full
from common.training.optimizers import Updater
from common.training.progress import ProgressBar
from common.training.resident import Resident
from common.training.settings import TrainSettings
from common.training.state import Progress, TrainState
from common.training.step import make_probe, make_step, place_key
from common.training.stopping import judge, pick_metric
from common.training.stopwatch import Stopwatch
from common.training.task import Constants, Params, Stage

HostBatch = Mapping[str, np.ndarray]


class Source(Protocol):
    """The batches of one stage: `source[i]` is the batch of step i, whoever asks and when."""

    resident: Columns | None  # what the devices gather histories from; None = the host does

    @property
    def steps_per_epoch(self) -> int: ...

    def __len__(self) -> int: ...  # the stage's steps if nothing stops it early

    def __getitem__(self, step: int) -> Any: ...

    def position(self, step: int) -> dict[str, int]: ...


Iterate = Callable[[Any, int], Iterator[HostBatch]]
Validate = Callable[[Params, Constants], Mapping[str, float]]


@dataclass(frozen=True)
class StageRun:
    """What a stage gets from the run around it."""

    constants: Constants  # of this stage
    resident: Resident | None  # of its source
    validate: Validate  # of this stage
    iterate: Iterate
    settings: TrainSettings
    fingerprint: Mapping[str, Any]
    seed: int
    mesh: Mesh
    checkpoints: Checkpoints
    logbook: Logbook
    caught: Caught


def run_stage(
    run: StageRun,
    stage: Stage,
    source: Source,
    updater: Updater,
    state: TrainState,
    progress: Progress,
) -> tuple[TrainState, Progress, str | None]:
    """Trains a stage to its end, or to a signal. A stage that has ended returns at once.

    state: donated to the first step: it must not be used again
    Returns the last state, where it stands, and the signal's name if one ended it.
    Raises TrainingDiverged, InputError and WriteError.
    """
    check_batch(stage, run.mesh, run.settings.accumulate)
    total, settings = len(source), run.settings
    eval_every = count_steps_between_evaluations(settings, source, stage.eval_every_epochs)
    many = settings.steps_per_dispatch
    constants = run.constants
    if run.resident is not None:
        stage = run.resident.gather_first(stage)
        constants = run.resident.add_columns(constants)
    launch = {
        count: make_step(stage, updater, run.mesh, state, count, settings.accumulate)
        for count in {1, many}
    }
    compiled: set[int] = set()
    borders = (eval_every, settings.checkpoint_every_steps, settings.probe_every_steps)
    ask_every = -(-settings.log_every_steps // many) * many
    probe = make_probe(stage, run.mesh) if settings.probe_every_steps else None
    key = place_key(run.seed, f"stage/{stage.name}", run.mesh)
    rate_scale = put_full(run.mesh, np.float32(progress.rate_scale))
    watch = Stopwatch(progress)
    batches: Iterator[HostBatch] | None = None
    on_disk = progress.step  # the last step saved

    with ProgressBar(stage.name, total, progress.step, settings.show_progress) as bar:
        late = LateMetrics(
            stage, progress.stage_start, total, settings.log_every_steps, run.logbook, bar, watch
        )
        while True:
            run.checkpoints.check()
            step = progress.step
            signal = run.caught.read(step, ask_every)
            ended = step == total or progress.stopped
            evaluate = (
                signal is None
                and step not in (0, progress.evaluated_step)
                and (ended or step % eval_every == 0)
            )
            save = evaluate or (
                step != on_disk
                and (signal is not None or is_due(settings.checkpoint_every_steps, step))
            )
            if evaluate or save:
                late.flush()  # a step that diverged is neither judged nor kept
                was_running = watch.pause()
                progress = watch.book(replace(progress, position=source.position(step)))
            # 1. Evaluate.
            if evaluate:
                progress = evaluate_stage(run, stage, state.params, progress, bar)
                rate_scale = put_full(run.mesh, np.float32(progress.rate_scale))
                ended = ended or progress.stopped
                progress = replace(progress, ended=ended)
            # 2. Save.
            if save:
                run.checkpoints.save(state, progress, run.fingerprint)
                on_disk = step
            if ended or signal is not None:
                return state, progress, signal
            if save and was_running:
                watch.start()
            # 3. Next batch, or batches.
            if batches is None:
                batches = run.iterate(source, step)
            probes = probe is not None and step % settings.probe_every_steps == 0
            count = 1 if probes else count_steps_of_call(step, many, total, borders)
            asked = time.perf_counter()
            host_batches = [next(batches) for _ in range(count)]
            watch.add_wait(time.perf_counter() - asked)
            batch = put_batches(run.mesh, host_batches)
            if probes:
                assert probe is not None
                late.flush()
                was_running = watch.pause()
                values = jax.device_get(probe(state.params, constants, batch))
                run.logbook.write("probe", stage.name, progress.global_step, values, {})
                if was_running:
                    watch.start()
            # 4. Step. Nothing may slip to or from the device unasked: it would stall every step.
            if count not in compiled:
                late.flush()
                watch.pause()
            with jax.transfer_guard("disallow"):
                state, metrics = launch[count](state, constants, batch, key, rate_scale)
            progress = replace(progress, step=step + count)
            compiled.add(count)
            # 5. Log, one step late.
            late.add(progress.step, metrics, count)
            if not watch.running:
                late.flush()  # waits for the first, compiling step, which is not timed
                watch.start()


def check_batch(stage: Stage, mesh: Mesh, accumulate: int) -> None:
    """Raises InputError unless a stage's batches can be shared out, and cut into parts."""
    name = f"batch size of stage {stage.name}"
    check_batch_size(mesh, stage.batch_size, name, max(1, accumulate))
    if stage.view.packed and accumulate > 1:
        raise InputError(
            f"config.accumulate = {accumulate}: stage {stage.name} has batches of packed "
            "sequences, which cannot be cut; use 1, and a smaller batch"
        )


def evaluate_stage(
    run: StageRun, stage: Stage, params: Params, progress: Progress, bar: ProgressBar
) -> Progress:
    """Validates the parameters, logs the values and books them. Raises as `pick_metric`."""
    begun = time.perf_counter()
    values = {name: float(value) for name, value in run.validate(params, run.constants).items()}
    timing = {"seconds": time.perf_counter() - begun}
    value = pick_metric(values, stage.stopping, progress)
    run.logbook.write("valid", stage.name, progress.global_step, values, timing)
    bar.note(stage.stopping.metric, value)
    return judge(progress, stage.stopping, value)


def count_steps_between_evaluations(
    settings: TrainSettings, source: Source, epochs: float | None = None
) -> int:
    """The settings' interval in steps, at least 1.

    epochs: a stage's own interval; it goes before the settings' epochs, not before their steps
    """
    if settings.eval_every_steps:
        return settings.eval_every_steps
    epochs = settings.eval_every_epochs if epochs is None else epochs
    return max(1, math.floor(epochs * source.steps_per_epoch + 0.5))


def count_steps_of_call(step: int, many: int, total: int, borders: Sequence[int]) -> int:
    """The steps to run from `step` by one call: `many` where nothing is due between, else 1.

    borders: intervals in steps of what is done between steps, 0 = never
    Calls of many begin at multiples of `many`, so which steps share one does not depend on where
    a run was interrupted.
    """
    ends = [total, *((step // every + 1) * every for every in borders if every)]
    return many if step % many == 0 and step + many <= min(ends) else 1


def is_due(every: int, step: int) -> bool:
    """Whether something done every `every` steps, 0 = never, is due after `step`."""
    return every > 0 and step > 0 and step % every == 0
