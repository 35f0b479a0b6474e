"""The second stage from end to end: after stage 1, from another run, and going on mid-way."""

from __future__ import annotations

import json
import shutil

import pytest

from common.ranking.results import read_results
from common.training.checkpoints import list_steps


def results_of(workdir):
    results = read_results(workdir / "results.json")
    return {name: part for name, part in results.items() if name not in ("speed", "wall_seconds")}


def log_of(workdir, kind):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [
        {name: part for name, part in line.items() if name != "timing"}
        for line in lines
        if line["kind"] == kind
    ]


def test_reinforcement_from_a_finished_run_goes_on_mid_way(finished, run, tmp_path):
    flags = [
        "--config.second.kind=reinforce",
        f"--config.second.start={finished}",
        "--config.second.epochs=1",
        "--config.second.rollouts=3",
    ]
    assert run(tmp_path / "whole", *flags).code == 0
    results = results_of(tmp_path / "whole")
    assert results["stage"] == "reinforce"
    log = log_of(tmp_path / "whole", "train")
    assert {line["stage"] for line in log} == {"reinforce"}
    first = log[0]["values"]
    assert first["kl"] == pytest.approx(0, abs=1e-9)
    assert 0.15 <= first["reward"] <= 1
    assert log[-1]["values"]["kl"] > 0
    assert len(log_of(tmp_path / "whole", "valid")) >= 4  # quarters of the epoch

    shutil.copytree(tmp_path / "whole", tmp_path / "parts")
    (tmp_path / "parts" / "results.json").unlink()
    checkpoints = tmp_path / "parts" / "checkpoints"
    newest = list_steps(checkpoints)[-1]
    shutil.rmtree(checkpoints / str(newest))
    assert 0 < list_steps(checkpoints)[-1] < newest
    assert run(tmp_path / "parts", *flags).code == 0
    assert results_of(tmp_path / "parts") == results
    for kind in ("train", "valid"):
        assert log_of(tmp_path / "parts", kind) == log_of(tmp_path / "whole", kind)


def test_a_control_may_follow_stage_1_in_one_run(run, tmp_path):
    flags = ["--config.train.epochs=1", "--config.second.epochs=1"]
    assert run(tmp_path / "run", "--config.second.kind=ranking", *flags).code == 0
    assert results_of(tmp_path / "run")["stage"] == "ranking"
    stages = [line["stage"] for line in log_of(tmp_path / "run", "train")]
    assert stages == sorted(stages, key=["supervised", "ranking"].index)
    assert set(stages) == {"supervised", "ranking"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": "nowhere"}, "nowhere: not a finished run"),
        ({"kind": "none"}, "there is no second stage"),
        ({"steps": "1"}, "do not fit this model"),
    ],
)
def test_a_bad_start_is_refused_before_anything_is_written(
    changes, message, finished, run, tmp_path
):
    outcome = run(
        tmp_path / "run",
        f"--config.second.kind={changes.get('kind', 'more')}",
        f"--config.second.start={changes.get('start', finished)}",
        f"--config.reasoner.steps={changes.get('steps', '2')}",
    )
    assert outcome.code == 2
    assert message in outcome.err
    assert not (tmp_path / "run").exists()
