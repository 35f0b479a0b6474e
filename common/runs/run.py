"""One run from a configuration to results.json: open, train, evaluate."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jaxlib
from jax.sharding import Mesh

from common.data.batches import training_source
from common.data.dataset import Dataset
from common.data.sequences import sequence_source
from common.errors import InputError
from common.ranking.report import find_problems
from common.runs.job import Job, claim, open_job
from common.runs.judging import Model, evaluate_method
from common.runs.methods import settle
from common.runs.trained import load_best
from common.runs.validation import open_validators
from common.runs.workdirs import is_finished
from common.settings.reading import take_fields
from common.training.checkpoints import list_steps
from common.training.loop import TrainResult, train
from common.training.mesh import find_part
from common.training.processes import tell
from common.training.resident import choose_columns
from common.training.settings import TrainSettings
from common.training.stage_loop import Source
from common.training.start import check_start
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
    started = time.time()
    settings = settle(config)
    use_compilation_cache()
    with ExitStack() as held:  # the workdir's lock, from the first thing that is written
        job = open_job(
            settings, workdir, held, evaluates=mode == "evaluate", evaluate_on=evaluate_on
        )
        trains = bool(job.task.stages) and not job.evaluates
        train_stages = open_training(job, tensorboard) if trains else None
        if not job.evaluates:  # bad input has left nothing behind so far
            job = claim(job, held)
        if train_stages is None:
            model = read_model(job)
        else:
            result = train_stages()
            if result.interrupted:
                return tell_interruption(result, job.workdir)
            model = take_best(result)
        results = evaluate_method(job, model, started)
        tell(f"results: {workdir / 'results.json'}")
        return 1 if strict and find_problems(results) else 0


def open_training(job: Job, tensorboard: bool) -> Callable[[], TrainResult]:
    """A function that trains all stages, or goes on where they were stopped.

    Tells what is about to run. Raises InputError for what would make it fail.
    """
    settings, task = job.settings, job.task
    tell(describe(job))
    open_source, lines = open_sources(settings, task, job.dataset, job.mesh)
    tell("\n".join(lines))
    open_validator = open_validators(settings, task, job.dataset, job.mesh)
    pace = take_fields(TrainSettings, settings, settings.train, tensorboard=tensorboard)
    if task.start and not is_finished(Path(task.start)):
        raise InputError(f"{task.start}: not a finished run; let it finish, or start elsewhere")
    check_start(task, job.batch, job.fingerprint)
    if task.check_pretrained is not None and not (job.workdir / "checkpoints").exists():
        task.check_pretrained()
    return partial(
        train, task, open_source, open_validator, pace, job.workdir, settings.seed, job.mesh,
        fingerprint=job.fingerprint,
    )  # fmt: skip


def tell_interruption(result: TrainResult, workdir: Path) -> int:
    """Tells that a signal has stopped the training; returns the exit code of the command."""
    assert result.interrupted is not None
    saved = result.global_step in list_steps(workdir / "checkpoints")
    what = f"saved at step {result.global_step}" if saved else "nothing to save yet"
    tell(f"{result.interrupted}: {what}; start the same command again to go on")
    return 128 + int(getattr(signal, result.interrupted))


def take_best(result: TrainResult) -> Model:
    """The best parameters of a training that has come to its end, which it tells."""
    last = result.stages[-1]
    early = last.ended_by == "patience"
    end = f"ended early, without a gain in {last.metric}" if early else "ended by epochs"
    tell(
        f"trained {result.global_step} steps: {result.examples_per_second:,.0f} examples/s, "
        f"{result.wait_share:.1%} of the time waiting for data; {end}; "
        f"judging the checkpoint of step {last.best_step}"
    )
    about = describe_model(last.best_step, True, last.metric, last.best_value)
    return Model(result.params, result.constants, about, result.examples_per_second)


def read_model(job: Job) -> Model:
    """The best parameters of the run in the workdir; of a method without stages what `init` makes.

    Raises InputError where there is no checkpoint that fits.
    """
    seed = job.settings.seed
    trained, progress = load_best(job.task, job.workdir, seed, job.dataset, job.mesh, job.batch)
    if progress is None:
        return Model(trained.params, trained.constants)
    left = "" if progress.ended else "; its training has not come to its end"
    tell(f"judging the checkpoint of step {progress.global_step}{left}")
    own = progress.best_value if progress.best_step == progress.global_step else None
    metric = job.task.stages[-1].stopping.metric
    about = describe_model(progress.global_step, progress.ended, metric, own)
    return Model(trained.params, trained.constants, about)


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


def describe(job: Job) -> str:
    """What is about to run, in one line."""
    task, dataset = job.task, job.dataset
    stages = " -> ".join(stage.name for stage in task.stages)
    events = sum(len(dataset.rows[served, "train"]) for served in task.tasks)
    return (
        f"{task.name} ({stages}) on {dataset.name}, {dataset.split}, history by "
        f"{dataset.history_order}; {events:,} training events, "
        f"{dataset.n_items:,} items; {job.mesh.size} of {jax.device_count()} "
        f"{jax.default_backend()} device(s); {job.workdir}"
    )


def describe_model(step: int, finished: bool, metric: str, value: float | None) -> dict[str, Any]:
    """Which parameters were judged: their step, whether training has come to its end, and what
    the validation part said of them, where it is known."""
    known = {} if value is None else {"validation": {metric: value}}
    return {"step": step, "finished": finished, **known}


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
