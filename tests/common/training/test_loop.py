import math
from dataclasses import replace

import jax
import numpy as np
import pytest

from common.errors import InputError
from common.training.checkpoints import list_steps
from common.training.divergence import TrainingDiverged
from common.training.mesh import make_mesh
from common.training.settings import TrainSettings
from common.training.stage_loop import count_steps_between_evaluations
from common.training.task import Optimizer, Stopping


def test_best_is_returned_and_patience_ends_the_stage(tiny, tmp_path):
    stage = tiny.make_stage(epochs=9, stopping=Stopping(metric="fit", patience=2))
    kept = {}
    values = iter([0.1, 0.4, 0.3, 0.4, 0.9])

    def validate(params, constants):
        kept[len(kept)] = jax.tree.map(np.asarray, params)
        return {"fit": next(values)}

    result = tiny.run(tmp_path, tiny.make_task(stage), validate=validate)
    assert result.global_step == 24  # the gain at 12, then two evaluations without
    tiny.assert_same(result.params, kept[1])
    (summary,) = result.stages
    assert (summary.best_value, summary.best_step, summary.ended_by) == (0.4, 12, "patience")
    # The latest three, the best among them, and the best before it.
    assert list_steps(tmp_path / "checkpoints") == [6, 12, 18, 24]
    # Started again, the stopped stage stays stopped.
    assert tiny.run(tmp_path, tiny.make_task(stage), validate=tiny.fall([])).stages == result.stages


def test_plateau_lowers_the_learning_rate(tiny, tmp_path):
    stopping = Stopping(metric="fit", patience=0, plateau_patience=1, plateau_floor=2e-4)
    stage = tiny.make_stage(epochs=4, optimizer=Optimizer(learning_rate=0.01), stopping=stopping)
    tiny.run(tmp_path, tiny.make_task(stage), validate=tiny.fall([0.5, 0.4, 0.3, 0.2]))
    rates = [line["values"]["learning_rate"] for line in tiny.read_lines(tmp_path, "train")]
    expected = [0.01] * 12 + [0.001] * 6 + [0.0002] * 6  # 1e-4 is below the floor
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


@pytest.mark.parametrize("poison", [11, 23])  # just before an evaluation, and the last step
def test_divergence_names_the_step_and_keeps_no_bad_state(tiny, tmp_path, poison):
    with pytest.raises(TrainingDiverged, match=rf"stage fit, step {poison + 1}: loss is nan"):
        tiny.run(tmp_path, open_source=lambda stage: tiny.TinySource(stage, poison=poison))
    steps = list_steps(tmp_path / "checkpoints")
    assert max(steps) <= poison
    good = tiny.run(tmp_path)  # the data mended, it goes on from there
    assert good.global_step == 24
    assert math.isfinite(good.stages[0].best_value)


def test_divergence_in_the_second_stage_counts_over_both(tiny, tmp_path):
    stages = [tiny.make_stage(name=name, epochs=1) for name in ("first", "second")]

    def open_source(stage):
        return tiny.TinySource(stage, poison=2 if stage.name == "second" else None)

    with pytest.raises(TrainingDiverged, match="stage second, step 9: loss is nan"):
        tiny.run(tmp_path, tiny.make_task(*stages), open_source=open_source)


def test_evaluating_and_saving_are_not_timed(tiny, tmp_path, monkeypatch):
    """With a clock that only evaluation moves, no training time passes."""
    from common.training import stage_loop, stopwatch

    class Clock:
        now = 0.0

        def perf_counter(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(stopwatch, "time", clock)
    monkeypatch.setattr(stage_loop, "time", clock)

    def validate(params, constants):
        clock.now += 1000.0
        return tiny.validate(params, constants)

    def iterate(source, start):
        for step in range(start, len(source)):
            clock.now += 0.25  # waiting for a batch: a quarter of a second
            batch = source[step]
            yield batch

    def slow_put(mesh, batches):
        clock.now += 0.75
        return put_batches(mesh, batches)

    put_batches = stage_loop.put_batches
    monkeypatch.setattr(stage_loop, "put_batches", slow_put)
    result = tiny.run(tmp_path, validate=validate, iterate=iterate)
    # 24 steps of one second; the first one compiles. 4 epochs of 45 rows, less the first 8.
    assert result.train_seconds == 23.0
    assert result.examples_per_second == (4 * 45 - 8) / 23
    assert result.wait_share == 0.25


def test_checkpoints_between_evaluations(tiny, tmp_path):
    settings = replace(tiny.QUIET, checkpoint_every_steps=4, eval_every_epochs=4)
    saved = []

    def iterate(source, start):
        for step in range(start, len(source)):
            saved.append(list_steps(tmp_path / "checkpoints"))
            yield source[step]

    tiny.run(tmp_path, settings=settings, iterate=iterate)
    assert list_steps(tmp_path / "checkpoints") == [16, 20, 24]
    assert saved[-4:][0] in (
        [8, 12, 16],
        [8, 12, 16, 20],
        [12, 16, 20],
    )  # written in the background


def test_evaluation_interval(tiny):
    source = tiny.TinySource(tiny.make_stage())
    for settings, steps in [
        (TrainSettings(), 6),
        (TrainSettings(eval_every_epochs=0.5), 3),
        (TrainSettings(eval_every_epochs=0.01), 1),
        (TrainSettings(eval_every_epochs=2), 12),
        (TrainSettings(eval_every_steps=5), 5),
    ]:
        assert count_steps_between_evaluations(settings, source) == steps


@pytest.mark.parametrize(
    ("name", "value"),
    [("log_every_steps", 0), ("eval_every_epochs", 0.0), ("eval_every_steps", -1)],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(InputError, match=rf"^config\.{name} = {value}: give a "):
        TrainSettings(**{name: value})


def test_input_errors_of_a_run(tiny, tmp_path):
    with pytest.raises(InputError, match="use one of bias, fit"):
        tiny.run(tmp_path / "a", tiny.make_task(tiny.make_stage(stopping=Stopping())))
    with pytest.raises(InputError, match="of different names"):
        tiny.run(tmp_path / "b", tiny.make_task(tiny.make_stage(), tiny.make_stage()))
    with pytest.raises(InputError, match="stage fit: no batch to train on"):
        tiny.run(tmp_path / "c", tiny.make_task(tiny.make_stage(epochs=0)))


def test_runs_without_a_main_thread(tiny, tmp_path):
    """Python allows signal handlers in the main thread only; elsewhere training does without."""
    from threading import Thread

    results = []
    thread = Thread(target=lambda: results.append(tiny.run(tmp_path, mesh=make_mesh())))
    thread.start()
    thread.join()
    assert results[0].global_step == 24
