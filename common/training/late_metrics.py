"""Metrics of steps, read one step late: the host never waits for the step it just launched."""

from __future__ import annotations

import jax

from common.training.cost import measure_cost
from common.training.divergence import check_finite
from common.training.logbook import Logbook
from common.training.progress import ProgressBar
from common.training.stopwatch import Stopwatch
from common.training.task import Metrics, Stage


class LateMetrics:
    """Holds the newest step's metrics on the device; checks and logs those of the step before."""

    def __init__(
        self,
        stage: Stage,
        stage_start: int,
        total: int,
        log_every: int,
        logbook: Logbook,
        bar: ProgressBar,
        watch: Stopwatch,
    ) -> None:
        self._stage, self._stage_start = stage, stage_start
        self._total, self._log_every = total, log_every
        self._logbook, self._bar, self._watch = logbook, bar, watch
        self._held: tuple[int, int, Metrics] | None = None

    def add(self, step: int, metrics: Metrics, count: int = 1) -> None:
        """Takes the metrics of steps up to number `step` of the stage (from 1); reads those held.

        metrics: float32 [] of one step, or [count] of as many
        Raises TrainingDiverged, naming the step it was read from.
        """
        self.flush()
        self._held = (step, count, metrics)

    def flush(self) -> None:
        """Waits for the newest step and reads its metrics. Raises TrainingDiverged."""
        if self._held is None:
            return
        (last, count, metrics), self._held = self._held, None
        rows = {name: value.reshape(-1) for name, value in jax.device_get(metrics).items()}
        self._watch.count(int(rows.pop("examples").sum()))
        for row in range(count):
            values = {name: float(column[row]) for name, column in rows.items()}
            self._read(last - count + 1 + row, values)

    def _read(self, step: int, values: dict[str, float]) -> None:
        check_finite(values, self._stage.name, self._stage_start + step)
        rate = self._watch.examples_per_second
        self._bar.advance(step, values["loss"], rate)
        if step in (1, self._total) or step % self._log_every == 0:
            timing = {
                "examples_per_second": rate,
                "wait_share": self._watch.wait_share,
                **measure_cost(self._stage.cost, rate),
            }
            self._logbook.write("train", self._stage.name, self._stage_start + step, values, timing)
