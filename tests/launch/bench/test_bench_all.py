"""All subjects in one report: what is in it, and that one failure does not lose the rest."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import pytest

from launch import bench
from launch.bench import all_subjects
from launch.command import run_command


def use(monkeypatch, arguments):
    """Takes the place of the subjects' own small arguments."""
    subjects = {name: bench.SUBJECTS[name]._replace(small=own) for name, own in arguments.items()}
    monkeypatch.setattr(bench, "SUBJECTS", subjects)


def test_one_report_of_all(tmp_path, monkeypatch, capsys):
    out = tmp_path / "all.json"
    words = {
        "saves": ("--megabytes=3", "--saves=1"),
        "catalogue": ("--items=1",),
    }
    use(monkeypatch, words)
    assert run_command(bench.main, ["--all", f"--out={out}"]) == 1
    printed = capsys.readouterr()
    report = json.loads(out.read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["all.json"]
    assert report["machine"].startswith("machine: ")
    assert re.match(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", report["date"])
    assert set(report["versions"]) >= {"jax", "jaxlib"}
    results = report["subjects"]
    assert {name: tuple(result["arguments"]) for name, result in results.items()} == words
    assert report["seconds"] >= sum(result["seconds"] for result in results.values())
    own = results["saves"]["report"]
    assert own["versions"]["jaxlib"] == report["versions"]["jaxlib"]
    assert own["peak_memory"]["host"] > 1e8
    for figure, value in own["summary"].items():
        assert value >= 0
        assert re.search(rf"^saves +{re.escape(figure)} +[\d.,e-]+$", printed.out, re.M)
    assert "report" not in results["catalogue"]
    assert results["catalogue"]["error"].startswith("exit code 2: flag --items=1")
    assert re.search(r"^catalogue +failed +exit code 2: flag --items=1", printed.out, re.M)


def test_a_process_that_is_killed_has_no_report(monkeypatch):
    done = SimpleNamespace(returncode=-9, wait=lambda: None)
    monkeypatch.setattr(all_subjects.subprocess, "Popen", lambda *words, **options: done)
    assert all_subjects.run_alone("lcr", ())["error"] == "exit code -9: no message"


@pytest.mark.parametrize("name", bench.SUBJECTS)
def test_a_bad_out_is_told_before_measuring(name, tmp_path, refuse):
    """And the small arguments of each subject are arguments that it knows."""
    small = bench.SUBJECTS[name].small or ()
    for out, message in (
        (tmp_path / "none" / "x.json", "no such folder; make it first"),
        (tmp_path, "is a folder; give a file in it"),
    ):
        assert message in refuse(name, *small, f"--out={out}")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--out=/nowhere/x.json"], "no such folder"),
        (["--blocks=5"], "blocks"),
        (["lcr"], "'lcr' is no flag"),
    ],
)
def test_bad_input_of_all(argv, message, monkeypatch, refuse):
    monkeypatch.setattr(all_subjects, "run_alone", None)  # nothing may be measured
    assert message in refuse("--all", *argv)
