"""Rates are of the stage that runs; totals are of the whole run."""

from __future__ import annotations

import pytest

from common.training import stopwatch
from common.training.loop import finish_stage
from common.training.state import Progress
from common.training.stopwatch import Stopwatch
from common.training.task import Stage


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now[0])
    return now


def train_for(watch, clock, seconds, examples, waited):
    watch.start()
    clock[0] += seconds
    watch.count(examples)
    watch.add_wait(waited)
    watch.pause()


def test_a_quick_stage_does_not_lift_the_next_ones_rate(clock):
    stage = Stage("first", loss=lambda *_: None, view=None, batch_size=1, epochs=1)
    progress = Progress(best_value=1.0, best_step=1)
    watch = Stopwatch(progress)
    train_for(watch, clock, seconds=2.0, examples=1000, waited=1.0)
    assert watch.examples_per_second == 500
    progress = finish_stage(watch.book(progress), stage)
    watch = Stopwatch(Progress.from_json(progress.to_json()))  # as after a restart
    assert watch.examples_per_second == 0
    train_for(watch, clock, seconds=4.0, examples=40, waited=1.0)
    assert watch.examples_per_second == 10
    assert watch.wait_share == 0.25
    total = watch.book(progress)
    assert (total.train_seconds, total.wait_seconds, total.timed_examples) == (6.0, 2.0, 1040)
