"""The command for an accelerator, on a CPU: what it writes, and how cases leave others alone."""

from __future__ import annotations

import json
import re

import jax
import jax.numpy as jnp
import pytest

from launch import bench
from launch.bench import device_cases
from launch.bench.device_cases import BOUNDS, CASES, Case, read_bounds
from launch.bench.kernels import read_kernels
from launch.bench.subjects import read_flags
from launch.command import run_command

QUICK = ("--megabytes=3", "--saves=1")  # of the subject that times no products


@pytest.fixture
def run(tmp_path, capsys):
    """run(*words) -> exit code, summary, what was printed"""

    def call(*words):
        code = run_command(bench.main, ["device", f"--out={tmp_path / 'out'}", *words])
        return code, json.loads((tmp_path / "out/summary.json").read_text()), capsys.readouterr()

    return call


def test_a_case_that_fails_and_one_that_does_not_end_leave_the_others_alone(
    run, monkeypatch, tmp_path
):
    cases = (
        Case("endless", "losses", (), ("--items=9", "--rows=2", "--blocks=100000000")),
        Case("broken", "losses", (), ("--items=1",)),
        Case("quick", "saves", (), QUICK),
        Case("elsewhere", "saves", (), QUICK, packages=("no_such_package",)),
    )
    monkeypatch.setattr(device_cases, "CASES", cases)
    code, summary, printed = run("--small", "--turn=1", "--processes=3")
    assert code == 1
    assert list(summary)[:3] == ["figures", "failed", "left_out"]  # the most important first
    assert summary["failed"]["endless"] == "timed for more than 1 s (--turn)"
    assert summary["failed"]["broken"].startswith("exit code 2: flag --items=1")
    assert summary["left_out"] == {"elsewhere": "no_such_package not installed"}
    report = json.loads((tmp_path / "out/quick.json").read_text())
    assert summary["figures"] == {
        f"quick: {name}": value for name, value in report["summary"].items()
    }
    assert summary["device"] == report["device"]
    assert summary["cases"]["quick"]["arguments"] == list(QUICK)
    assert "3 MB: stall" in (tmp_path / "out/quick.txt").read_text()
    for figure in report["summary"]:
        assert re.search(rf"^quick +{re.escape(figure)} +[\d.,e-]+$", printed.out, re.M)
    assert "elsewhere: left out: no_such_package not installed" in printed.out


def test_a_case_that_takes_too_long_is_ended(run, monkeypatch):
    endless = Case("endless", "losses", (), ("--items=9", "--rows=2", "--blocks=100000000"))
    monkeypatch.setattr(device_cases, "CASES", (endless,))
    code, summary, _ = run("--small", "--limit=1")
    assert code == 1
    assert summary["failed"] == {"endless": "took more than 1 s (--limit)"}
    assert 1 < summary["cases"]["endless"]["seconds"] < 60


def test_what_cannot_be_compiled_in_time_is_not_begun(run, tmp_path):
    bounds = tmp_path / "bounds.json"
    times = [{"name": "lcr init", "compile_seconds": 5}, {"name": "lcr supervised",
             "compile_seconds": 1000.0}]  # fmt: skip
    bounds.write_text(json.dumps({"programs": times}))
    code, summary, printed = run("--cases=lcr", f"--bounds={bounds}")
    assert code == 0
    assert re.fullmatch(r"compiles for about 1005 s, \d+ s are left", summary["left_out"]["lcr"])
    assert summary["figures"] == {}
    assert "lcr: left out: compiles" in printed.out


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_arguments_of_a_case_are_known(case):
    subject = bench.SUBJECTS[case.subject]
    for words in (case.words, case.small):
        read_flags(subject.flags(), words, subject.doc)


def test_bounds():
    assert read_bounds("") == BOUNDS
    lcr = next(case for case in CASES if case.name == "lcr")
    assert lcr.bound({"lcr init": 2.0, "lcr supervised": 3.0}) == 5.0
    assert lcr.bound({}) is None
    assert set(BOUNDS) <= {name for case in CASES for name in case.programs}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--out=DIR: is missing"),
        (["--out=/dev/null"], "is no folder"),
        (["--out={tmp}", "--cases=lcrr"], "no case 'lcrr'; did you mean lcr?"),
        (["--out={tmp}", "--bounds=/nowhere.json"], "/nowhere.json"),
        (["--out={tmp}", "--bounds={tmp}/other.json"], "has no list `programs` with times"),
        (["--out={tmp}", "--minutes=0"], "flag --minutes=0"),
    ],
)
def test_bad_input(argv, message, refuse, tmp_path):
    (tmp_path / "other.json").write_text('{"programs": [{"name": "lcr init"}]}')
    assert message in refuse("device", *(word.format(tmp=tmp_path) for word in argv))


def test_kernels_are_read_from_a_profile(tmp_path):
    """Of a CPU's own threads, which have no kernels but the same form."""
    work = jax.jit(lambda x: jnp.sin(x @ x).sum())
    work(jnp.ones((64, 64))).block_until_ready()
    with jax.profiler.trace(str(tmp_path)):
        for _ in range(4):
            work(jnp.ones((64, 64))).block_until_ready()
    assert read_kernels(tmp_path, 4) == {}
    table = read_kernels(tmp_path, 4, r"/host:CPU tf_XLA.*")
    times = [kernel["ms_per_step"] for kernel in table["kernels"]]
    assert times == sorted(times, reverse=True)
    assert sum(times) == pytest.approx(table["ms_per_step"])
    assert table["launches_per_step"] >= 1
    assert any(kernel["calls_per_step"] == 1 for kernel in table["kernels"])
