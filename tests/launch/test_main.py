"""`launch.main` from end to end on the tiny preset: what a run leaves, and how it goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.synthetic import generate
from common.ranking.ranks import read_ranks
from common.ranking.results import read_results, recompute_values, validate_results

ROOT = Path(__file__).resolve().parents[2]
CHANGING = ("speed", "wall_seconds")  # differ from run to run


def lasting(workdir):
    """results.json without what depends on the clock."""
    results = read_results(workdir / "results.json")
    return {key: value for key, value in results.items() if key not in CHANGING}


def log_of(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "timing"} for line in lines]


def test_a_run_leaves_everything(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "config.json",
        "metrics.jsonl",
        "checkpoints",
        "results.json",
        "ranks.parquet",
    }
    results = read_results(finished / "results.json")
    validate_results(results)
    assert set(results["tasks"]["rec"]) == {"full", "uniform19", "popularity19"}
    assert set(results["sanity"]) == {"popularity", "random", "last_item", "in_history"}
    assert results["speed"]["train_examples_per_second"] > 0
    evidence = results["evidence"]
    assert set(evidence) == {"model", "swapped", "random", "recency", "profile", "oracle", "lists"}
    assert evidence["recency"]["auc_pair_age"]["value"] == 0.5
    assert set(evidence["model"]) == {"auc_flag", "auc_pair", "auc_pair_age"}
    for name in ("uniform19", "popularity19"):  # no item is ever taken twice: exactly chance
        chance = results["sanity"]["in_history"]["rec"][name]["HR@10"]
        assert chance["value"] == pytest.approx(0.5, abs=1e-12)


def test_results_can_be_recomputed_from_the_ranks(finished):
    again = recompute_values(read_ranks(finished / "ranks.parquet"))
    told = read_results(finished / "results.json")["tasks"]
    assert again.keys() == told.keys()
    for protocol, metrics in told["rec"].items():
        for name, entry in metrics.items():
            np.testing.assert_allclose(again["rec"][protocol][name], entry["value"], atol=1e-12)


def contents(folder):
    return {str(p): p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_workdir_of_another_run_is_refused_and_left_alone(finished, run, tmp_path):
    write_dataset(tmp_path / "other", generate("tiny", seed=1), PrepareSettings())
    before = contents(finished)
    for outcome, difference in (
        (run(finished, "--config.reasoner.steps=1"), "config.reasoner.steps is 2 there and 1 here"),
        (run(finished, data=tmp_path / "other"), "the tables are "),
    ):
        assert outcome.code == 2
        (line,) = outcome.err.splitlines()
        assert line.startswith(f"error: {finished}: holds another run: {difference}")
        assert "use another --workdir" in line
    assert contents(finished) == before


def test_the_same_command_again_and_evaluation_alone_agree(finished, run, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished, workdir)
    before = lasting(workdir)
    assert run(workdir).code == 0
    assert lasting(workdir) == before
    outcome = run(workdir, "--mode=evaluate")
    assert outcome.code == 0
    assert "rec / full" in outcome.out
    assert lasting(workdir) == before


@pytest.mark.parametrize(
    "flags",
    [
        ["--config.reasoner.steps=0"],
        [
            "--config.model.scorer=dot",
            "--config.loss.recommendation=softmax",
            "--config.reasoner.steps=1",
        ],
        [
            "--config.loss.recommendation=sampled_softmax",
            "--config.model.encoder=grounded",
            "--config.reasoner.steps=1",
        ],
    ],
    ids=["no reasoning", "softmax", "sampled softmax"],
)
def test_variants_run(flags, run, tmp_path):
    assert run(tmp_path / "run", "--config.train.epochs=1", *flags).code == 0
    validate_results(read_results(tmp_path / "run" / "results.json"))


def test_a_checkpoint_cut_short_is_replaced_by_the_previous_one(finished, run, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished, workdir)
    steps = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())
    newest = workdir / "checkpoints" / str(steps[-1])
    largest = max((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    largest.write_bytes(largest.read_bytes()[: largest.stat().st_size // 2])
    outcome = run(workdir)
    assert outcome.code == 0
    assert f"checkpoints/{steps[-1]}: damaged" in outcome.err
    assert f"going on from {steps[-2]}" in outcome.err
    assert lasting(workdir) == lasting(finished)


def test_stopped_by_sigterm_and_started_again_equals_uninterrupted(tiny, finished, tmp_path):
    workdir = tmp_path / "run"
    words = [
        sys.executable,
        *("-m", "launch.main"),
        f"--config={ROOT / 'lcr_jax/configs/tiny.py'}",
        f"--config.data.path={tiny}",
        f"--workdir={workdir}",
        "--notensorboard",
    ]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        log = workdir / "metrics.jsonl"
        while not (log.exists() and log.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=120)
    # The run is short: the signal may come when the last step has been made.
    if process.returncode == 128 + signal.SIGTERM:
        assert "SIGTERM: saved at step" in err
        assert not (workdir / "results.json").exists()
    again = subprocess.run(words, cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert lasting(workdir) == lasting(finished)
    assert log_of(workdir) == log_of(finished)
