"""Short trainings on real batches by the trainer's own loop, which is what times them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from common.data.dataset import Dataset
from common.data.folder import PrepareSettings, write_dataset
from common.data.histories import Columns
from common.data.readers.synthetic import generate
from common.runs.run import open_sources
from common.runs.tasks import build_task
from common.settings.reading import take_fields
from common.training.loop import TrainResult, train
from common.training.mesh import make_mesh, put_batch, put_batches
from common.training.resident import put_resident
from common.training.settings import TrainSettings
from common.training.stage_loop import Source
from common.training.step import init_params, place_key, prepare_constants
from launch.bench.programs import Program, compile_step
from launch.bench.turns import take_turn
from launch.command import Terminated


@contextmanager
def open_folder(data: str, preset: str, **options: Any) -> Iterator[Path]:
    """The dataset folder that is given, or one of a synthetic preset, for as long as it is open.

    options: of `generate`
    """
    if data:
        yield Path(data)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / preset
        # Training reads no candidate lists, so the shortest will do.
        write_dataset(path, generate(preset, seed=0, **options), PrepareSettings(negatives=1))
        yield path


class FirstSteps:
    """The first steps of a source of batches, as a source."""

    def __init__(self, source: Source, steps: int) -> None:
        self._source, self._steps = source, steps
        self.resident: Columns | None = source.resident
        self.steps_per_epoch = source.steps_per_epoch

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> Any:
        return self._source[step]

    def position(self, step: int) -> dict[str, int]:
        return self._source.position(step)


class LastStage:
    """The last stage of a run, with its batches, on one device."""

    def __init__(self, settings: Any, dataset: Dataset, steps: int) -> None:
        """settings: of a method; steps: of a training; 0 = an epoch"""
        task = build_task(settings, dataset)
        self._settings, self._mesh = settings, make_mesh(jax.devices()[:1])
        self.stage = task.stages[-1]._replace(epochs=max(steps, 1))  # an epoch has a step or more
        self._task = task._replace(stages=(self.stage,))
        open_source, _ = open_sources(settings, self._task, dataset, self._mesh)
        source = open_source(self.stage)
        self._source = FirstSteps(source, steps or source.steps_per_epoch)

    def train(self) -> TrainResult:
        """Trains with fresh parameters, and neither judges nor keeps what has been learned.

        Alone on the device, see `take_turn`.
        Raises KeyboardInterrupt where a signal has stopped it.
        """
        take_turn()
        metric, total = self.stage.stopping.metric, len(self._source)
        pace = take_fields(
            TrainSettings, self._settings, self._settings.train, eval_every_steps=total,
            checkpoint_every_steps=0, probe_every_steps=0, show_progress=False, tensorboard=False,
        )  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            result = train(
                self._task,
                lambda stage: self._source,
                lambda stage: lambda params, constants: {metric: 0.0},
                pace,
                Path(folder),
                self._settings.seed,
                self._mesh,
            )
        if result.interrupted:
            raise Terminated if result.interrupted == "SIGTERM" else KeyboardInterrupt
        return result

    def compile(self) -> Program:
        """The step that `train` compiles, for what compiling tells of it."""
        mesh, stage, source = self._mesh, self.stage, self._source
        batch = put_batch(mesh, source[0])
        resident = put_resident(stage.view, source.resident, mesh)
        whole = batch if resident is None else resident.expand(batch)
        params, constants = init_params(self._task, place_key(0, "init", mesh), whole, mesh)
        constants = prepare_constants(stage, params, constants, mesh)
        if resident is not None:
            stage, constants = resident.gather_first(stage), resident.add_columns(constants)
        many = self._settings.steps_per_dispatch
        batch = put_batches(mesh, [source[0]] * many)
        return compile_step(stage, params, constants, batch, mesh, many, self._settings.accumulate)
