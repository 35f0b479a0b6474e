"""Kills at random moments: what they hit, and what they may leave."""

from __future__ import annotations

import json

import numpy as np
import pytest

from launch import soak
from launch.command import run_command
from launch.soak_kills import PHASES, draw_moment, find_litter, find_phase, list_names


def test_moments_are_spread_over_the_run_and_some_wait_for_a_save():
    rng = np.random.default_rng(0)
    moments = [draw_moment(rng, 60.0) for _ in range(3000)]
    after_start = [moment.seconds for moment in moments if not moment.writes]
    assert len(after_start) == pytest.approx(2000, abs=100)
    assert np.histogram(after_start, 6, (0, 60))[0] == pytest.approx(len(after_start) / 6, rel=0.2)
    assert {moment.writes for moment in moments} == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("made", "said", "trained", "phase"),
    [
        ([], "", False, "starting"),
        ([], "lcr (supervised) on tiny\n", False, "compiling"),
        ([], "lcr (supervised) on tiny\n", True, "training"),
        (["checkpoints/5.orbax-checkpoint-tmp/"], "lcr\n", True, "saving"),
        (["checkpoints/5/"], "lcr\n", True, "listing"),
        (["checkpoints/5/", "checkpoints/5/checksums.json"], "lcr\n", True, "training"),
        ([], "lcr\ntrained 18 steps: 9 examples/s\n", True, "judging"),
        (["ranks.parquet.tmp"], "lcr\ntrained 18 steps: 9\n", True, "writing"),
        (["ranks.parquet"], "lcr\ntrained 18 steps: 9\n", True, "writing"),
    ],
)
def test_what_a_kill_has_hit(made, said, trained, phase, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir()  # of the kill before
    before = list_names(tmp_path)
    for name in made:
        path = tmp_path / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.touch()
    assert find_phase(tmp_path, before, said, trained) == phase
    assert phase in PHASES


def test_what_may_be_left(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        (folder / "checkpoints" / "9").mkdir(parents=True)
        (folder / "config.json").touch()
    (whole / "results.json").touch()
    for name in ("4", "5.orbax-checkpoint-tmp", "checksums.json.5.tmp"):
        (killed / "checkpoints" / name).mkdir()
    (killed / "metrics.jsonl.tmp").touch()
    (killed / ".lock").touch()
    assert find_litter(killed, whole) == []
    (killed / "core").touch()
    (killed / "checkpoints" / "damaged").mkdir()
    assert find_litter(killed, whole) == [
        "left by a kill: checkpoints/damaged",
        "left by a kill: core",
    ]
    assert find_litter(killed, whole, killed=False) == [
        *(
            f"left at the end: {name}"
            for name in (
                ".lock", "checkpoints/4", "checkpoints/5.orbax-checkpoint-tmp",
                "checkpoints/checksums.json.5.tmp", "checkpoints/damaged", "core",
                "metrics.jsonl.tmp",
            )
        ),
        "missing at the end: results.json",
    ]  # fmt: skip


def test_the_table_of_several_soaks(tmp_path, capsys):
    kill = {"seconds": 3.5, "phase": "saving", "stage": "supervised", "step": 5}
    for name, differences in (("lcr", []), ("gensr", ["killed2: results.json: tasks"])):
        (tmp_path / name).mkdir()
        killed = {"runs": 2, "kills": [kill, kill], "seconds": 61.2}
        report = {"whole": {}, "killed": killed, "differences": differences}
        (tmp_path / name / "soak.json").write_text(json.dumps(report))
    assert run_command(soak.main, [f"--table={tmp_path / 'lcr'}"]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["soak", "kills", "starting"]
    assert row.split() == [
        "lcr",
        "2",
        "0",
        "0",
        "0",
        "2",
        "0",
        "0",
        "0",
        "1",
        "2",
        "61",
        "the",
        "same",
    ]
    both = f"--table={tmp_path / 'lcr'},{tmp_path / 'gensr'}"
    assert run_command(soak.main, [both]) == 1
    assert capsys.readouterr().out.splitlines()[-1].endswith("other")
    assert run_command(soak.main, [f"--table={tmp_path / 'none'}"]) == 2
