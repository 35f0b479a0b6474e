"""kill -9 in every stage of the real command: started again, it ends with the same numbers.

Bit for bit, in metrics.jsonl and results.json. A difference means that something besides
(config, dataset, seed) leaks into a run, or that a checkpoint lacks a part of the state.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from common.training.checkpoints import list_steps
from common.training.checksums import LISTING
from launch.soak_kills import Moment, find_litter, run_until
from launch.soak_runs import compare_runs

ROOT = Path(__file__).resolve().parents[2]


class Command:
    """The training command on one dataset, in a process of its own."""

    def __init__(self, words, environment, data):
        self.environment = environment
        self.words = [*words, f"--config.data.path={data}", "--notensorboard"]

    def start(self, workdir):
        return subprocess.Popen(
            [sys.executable, "-m", "launch.main", *self.words, f"--workdir={workdir}"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu", **self.environment},
        )  # fmt: skip

    def finish(self, workdir):
        process = self.start(workdir)
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors

    def kill(self, workdir, read_steps, count):
        """Starts the command; kills it when as many steps can be read."""
        process = self.start(workdir)
        deadline = time.monotonic() + 600
        while len(read_steps()) < count:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (workdir / "results.json").exists()


@pytest.mark.parametrize(
    ("method", "kills", "seed"),
    [
        ("lcr", [("supervised", 8), ("reinforce", 5)], 0),  # checkpoints every 5 steps
        ("gensr", [("pretrain_cf", 8), ("tune", 5)], 1),  # every 3 steps
    ],
)
def test_killed_in_each_stage_and_at_random_it_ends_with_the_same_numbers(
    method, kills, seed, tiny, tmp_path, small_runs, monkeypatch
):
    """Five kills: the first as soon as a checkpoint begins to be written, one in each stage, and
    two at moments that a seed draws."""
    command = Command(small_runs.WORDS[method], {}, tiny)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = [*small_runs.WORDS[method], f"--config.data.path={tiny}"]
    monkeypatch.chdir(ROOT)
    command.finish(whole)
    first = [Moment(0.0, 1)]  # config.json.tmp may be seen, and is as good
    rng = np.random.default_rng(seed)
    drawn = [Moment(float(rng.uniform(0, 5))), Moment(float(rng.uniform(0, 0.3)), 2)]
    for moment in [*first, *drawn]:
        code, hit = run_until(words, killed, moment)
        assert code == -signal.SIGKILL
        assert hit is not None
        assert find_litter(killed, whole) == []
    for number, (stage, lines) in enumerate(kills):
        read_steps = partial(small_runs.read_stage, killed, stage)
        command.kill(killed, read_steps, lines)
        assert find_litter(killed, whole) == []
        if number == 0:  # as if it had been killed between Orbax's rename and our checksums
            newest = list_steps(killed / "checkpoints")[-1]
            (killed / "checkpoints" / str(newest) / LISTING).unlink(missing_ok=True)
    command.finish(killed)
    assert compare_runs(whole, killed) == []
    assert find_litter(killed, whole, killed=False) == []
    for stage, lines in kills:  # each died before its end
        assert len(small_runs.read_stage(whole, stage)) > lines
