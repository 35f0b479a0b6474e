"""The speed of GenSR: what is printed and written."""

from __future__ import annotations

import json

import pytest

from launch import bench
from launch.command import run_command

SMALL = ["--size=mini", "--length=16", "--lists=2", "--blocks=3"]


def test_the_report(tmp_path, capsys, quick_compiler):
    out = tmp_path / "speed.json"
    assert run_command(bench.main, ["gensr", *SMALL, f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert sum(report["parameters_by_part"].values()) == report["parameters"]
    assert f"  t5 {report['parameters_by_part']['t5']:,}, " in printed
    assert report["rows"] == {"tune": 10, "score": 100}
    for name, rows in report["rows"].items():
        step = report["steps"][name]
        assert f"{name} ({rows:,} rows): {step['rows_per_second']:,.0f} rows/s" in printed
        assert step["rows_per_second"] == pytest.approx(1e3 * rows / step["ms_per_step"]["median"])
        assert step["tokens_per_second"] == pytest.approx(16 * step["rows_per_second"])
        flop = step["analytic_flop_per_step"]
        assert step["analytic_flop_per_second"] == pytest.approx(
            flop * step["rows_per_second"] / rows
        )


def test_a_report_that_cannot_be_written_is_told_first(tmp_path, capsys):
    out = tmp_path / "none" / "speed.json"
    assert run_command(bench.main, ["gensr", *SMALL, f"--out={out}"]) == 2
    assert "no such folder; make it first" in capsys.readouterr().err
