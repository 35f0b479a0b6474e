"""The soak: a run left alone beside one that is killed, and what is said of both."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from launch import soak
from launch.command import run_command

MB = 10**6


def test_a_killed_run_ends_with_the_same_numbers(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(soak, "DELAY_SECONDS", 0.0)  # the run is short
    words = [
        "--config=baselines_jax/configs/sasrec_tiny.py", f"--config.data.path={tiny}",
        "--config.train.epochs=15", "--config.train.patience=0",
        "--config.train.eval_every_epochs=5", "--config.train.checkpoint_every_steps=20",
    ]  # fmt: skip
    folder = tmp_path / "soak"
    code = run_command(soak.main, [*words, f"--workdir={folder}", "--kill_every=70", "--seed=1"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    assert printed.out.splitlines()[-1] == "the same numbers"
    report = json.loads((folder / "soak.json").read_text())
    assert report["whole"]["steps"] == 300
    assert len(report["killed"]["kills"]) >= 2
    assert report["killed"]["kills"] == sorted(report["killed"]["kills"])
    # And the comparison is not blind: one digit of one line, one line less, one result.
    log = folder / "killed" / "metrics.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    changed = json.loads(lines[7])
    changed["values"]["loss"] = np.nextafter(changed["values"]["loss"], 0)
    log.write_text("".join([*lines[:7], json.dumps(changed) + "\n", *lines[8:-1]]))
    results = json.loads((folder / "killed" / "results.json").read_text())
    results["seed"] += 1
    (folder / "killed" / "results.json").write_text(json.dumps(results))
    first, second, third = soak.compare_runs(folder / "whole", folder / "killed")
    assert first.startswith("metrics.jsonl, line 8: ")
    assert second == f"metrics.jsonl: {len(lines)} lines and {len(lines) - 1}"
    assert third == "results.json: seed"


def test_a_run_that_fails_is_told_and_not_started_again(tiny, tmp_path, capsys):
    shutil.copytree(tiny, tmp_path / "broken")
    (tmp_path / "broken" / "dataset.json").write_text("{")
    words = ["--config=baselines_jax/configs/sasrec_tiny.py"]
    words += [f"--config.data.path={tmp_path / 'broken'}", f"--workdir={tmp_path / 'soak'}"]
    assert run_command(soak.main, words) == 1
    whole = tmp_path / "soak" / "whole"
    assert capsys.readouterr().err == f"error: {whole}: exit code 2; see {whole}.log\n"
    assert "dataset.json" in (tmp_path / "soak" / "whole.log").read_text()


def test_the_slope_of_memory():
    """Least squares over the last two thirds: 2 MB per 1,000 steps, on 100 MB of warm-up."""
    base = {True: 400 * MB, False: 500 * MB}
    samples = [soak.Sample(s, base[s < 3000] + 2000 * s) for s in range(0, 9000, 10)]
    samples += [soak.Sample(9000, 900 * MB)] * 50  # evaluating, after the last step
    found = soak.fit_memory(samples)
    assert found["mb_per_1000_steps"] == pytest.approx(2)
    assert found["first_mb"] == pytest.approx(506)
    assert soak.fit_memory([soak.Sample(step, None) for step in range(99)]) is None
    assert soak.fit_memory([]) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--workdir: missing"),
        (["--workdir={full}"], "is not empty"),
        (["--workdir={new}", "--config.histroy=1"], "config.histroy: no such key"),
        (["--workdir={new}", "--kill_every=0"], "kill_every"),
    ],
)
def test_bad_input(words, message, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    words = [w.format(full=tmp_path / "full", new=tmp_path / "new") for w in words]
    assert run_command(soak.main, ["--config=lcr_jax/configs/tiny.py", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "new").exists()
