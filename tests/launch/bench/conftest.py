"""Small runs of the benchmark. Speed is not asserted."""

from __future__ import annotations

import json

import pytest

from launch import bench
from launch.bench import programs
from launch.command import run_command


@pytest.fixture(autouse=True)
def small_peak(monkeypatch):
    """The machine's peak is no matter here, and its matrices would take most of the time."""
    monkeypatch.setattr(programs, "_PEAK_WIDTH_CPU", 64)


@pytest.fixture
def measure(tmp_path, capsys):
    """measure(*words) -> the report that --out has got, and what was printed."""

    def run(*words):
        out = tmp_path / "out" / "figures.json"
        out.parent.mkdir()
        assert run_command(bench.main, [*words, f"--out={out}"]) == 0
        assert [path.name for path in out.parent.iterdir()] == ["figures.json"]
        printed = capsys.readouterr()
        assert printed.err == ""
        return json.loads(out.read_text()), printed.out

    return run


@pytest.fixture
def refuse(capsys):
    """refuse(*words) -> the one line with which a command is refused."""

    def run(*words):
        assert run_command(bench.main, words) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return run


@pytest.fixture
def check_program():
    """check_program(figures, rows, flop) of one program's figures; flop: of a call."""

    def check(figures, rows, flop):
        spread = figures["ms_per_step"]
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]
        assert figures["rows_per_second"] == pytest.approx(1e3 * rows / spread["median"])
        assert figures["analytic_flop_per_step"] == pytest.approx(flop)
        assert figures["analytic_flop_per_second"] == pytest.approx(1e3 * flop / spread["median"])

    return check
