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
from pathlib import Path

import pytest
from small_runs import GENSR, LCR, QUICK, read_stage

from launch.soak import compare_runs

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

    def kill(self, workdir, stage, lines):
        """Starts the command; kills it when a stage has that many lines of training."""
        process = self.start(workdir)
        deadline = time.monotonic() + 600
        while len(read_stage(workdir, stage)) < lines:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert not (workdir / "results.json").exists()


@pytest.mark.parametrize(
    ("words", "environment", "kills"),
    [
        (LCR, QUICK, [("supervised", 8), ("reinforce", 5)]),  # checkpoints every 5 steps
        (GENSR, {}, [("pretrain_cf", 8), ("tune", 5)]),  # every 3 steps
    ],
    ids=["lcr", "gensr"],
)
def test_killed_in_each_stage_it_ends_with_the_same_numbers(
    words, environment, kills, tiny, tmp_path
):
    command = Command(words, environment, tiny)
    command.finish(tmp_path / "whole")
    for stage, lines in kills:
        command.kill(tmp_path / "killed", stage, lines)
    command.finish(tmp_path / "killed")
    assert compare_runs(tmp_path / "whole", tmp_path / "killed") == []
    stages = dict(kills)
    logged = {stage: read_stage(tmp_path / "whole", stage) for stage in stages}
    assert all(len(logged[stage]) > lines for stage, lines in kills)  # each died before its end
