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

import pytest

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
    ("method", "kills"),
    [
        ("lcr", [("supervised", 8), ("reinforce", 5)]),  # checkpoints every 5 steps
        ("gensr", [("pretrain_cf", 8), ("tune", 5)]),  # every 3 steps
    ],
)
def test_killed_in_each_stage_it_ends_with_the_same_numbers(
    method, kills, tiny, tmp_path, small_runs
):
    command = Command(small_runs.WORDS[method], small_runs.ENVIRONMENT[method], tiny)
    command.finish(tmp_path / "whole")
    for stage, lines in kills:
        read_steps = partial(small_runs.read_stage, tmp_path / "killed", stage)
        command.kill(tmp_path / "killed", read_steps, lines)
    command.finish(tmp_path / "killed")
    assert compare_runs(tmp_path / "whole", tmp_path / "killed") == []
    for stage, lines in kills:  # each died before its end
        assert len(small_runs.read_stage(tmp_path / "whole", stage)) > lines
