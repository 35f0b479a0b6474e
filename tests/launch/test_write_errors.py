"""What cannot be written ends `launch.main` with one line and exit code 1; then it goes on."""

from __future__ import annotations

import json
import os
import resource
import shutil

import pytest

from common.training.checkpoints import list_steps
from launch import main as train_command
from launch.command import run_command

CHANGING = ("speed", "wall_seconds")


@pytest.fixture
def part(finished, tmp_path):
    """The finished run as it was before its last checkpoint."""
    workdir = tmp_path / "part"
    shutil.copytree(finished, workdir)
    (workdir / "results.json").unlink()
    newest = list_steps(workdir / "checkpoints")[-1]
    shutil.rmtree(workdir / "checkpoints" / str(newest))
    return workdir


@pytest.fixture
def fill_disk():
    """fill_disk(room): no file may grow beyond `room` bytes; None = as it was."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(room):
        limit = before if room is None else (room, before[1])
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)

    yield fill
    fill(None)


def read_numbers(workdir):
    results = json.loads((workdir / "results.json").read_text())
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    lines = [{k: v for k, v in line.items() if k != "timing"} for line in lines]
    return {k: v for k, v in results.items() if k not in CHANGING}, lines


def only_error(outcome):
    assert outcome.code == 1, outcome.err
    assert "Traceback" not in outcome.err
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    return line


def test_a_failed_save_and_the_same_command_again(part, finished, run, fill_disk):
    before = list_steps(part / "checkpoints")
    largest = max(p.stat().st_size for p in (part / "checkpoints").rglob("*") if p.is_file())
    log_size = (part / "metrics.jsonl").stat().st_size
    assert largest > 2 * log_size  # so the record of the run still has room
    fill_disk((largest + log_size) // 2)
    line = only_error(run(part))
    fill_disk(None)
    assert line.startswith(f"error: {part / 'checkpoints'}/")
    assert "cannot be saved (File too large); what was saved before is whole; mend that" in line
    assert list_steps(part / "checkpoints") == before
    assert run(part).code == 0
    assert read_numbers(part) == read_numbers(finished)


def test_results_that_cannot_be_written(finished, run, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished, workdir)
    (workdir / "results.json.tmp").mkdir()
    outcome = run(workdir, "--mode=evaluate")
    line = only_error(outcome)
    assert "rec / full" in outcome.out  # what took its time is printed before it is written
    assert line == (
        f"error: {workdir / 'results.json'}: cannot be written (Is a directory); mend that, "
        "then start the same command again"
    )


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="there is no /proc")
def test_a_workdir_that_cannot_be_made(tiny, capfd):
    """By the system itself, so that it fails for root too."""
    words = ["--config=lcr_jax/configs/tiny.py", f"--config.data.path={tiny}"]
    assert run_command(train_command.main, [*words, "--workdir=/proc/run"]) == 1
    assert "error: /proc/run: cannot be written (" in capfd.readouterr().err
