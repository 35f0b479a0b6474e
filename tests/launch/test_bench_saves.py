"""What `bench saves` prints and writes. Speed is not asserted."""

from __future__ import annotations

import json
import re

import pytest

from launch import bench
from launch.command import run_command


def test_the_report(tmp_path, capsys):
    out, folder = tmp_path / "saves.json", tmp_path / "disk"
    folder.mkdir()
    argv = ["saves", "--megabytes=3", "--saves=1", f"--folder={folder}", f"--out={out}"]
    assert run_command(bench.main, argv) == 0
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert set(report["megabytes"]) == {"3"}
    for megabytes, kinds in report["megabytes"].items():
        assert set(kinds) == {"stall", "write", "overlap", "checksums"}
        assert 0 < kinds["stall"]["min"] <= kinds["stall"]["median"] <= kinds["stall"]["max"]
        line = (
            rf"^{megabytes} MB: stall \d\.\d+ s \(.+\), write .+, overlap .+, checksums .+; "
            "medians of 1$"
        )
        assert re.search(line, printed, re.MULTILINE)
    assert report["peak_memory"]["host"] > 1e8
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--megabytes=1", "give whole numbers from 3 on"),
        ("--megabytes=many", "--megabytes=many"),
        ("--folder=/nowhere", "no such folder"),
        ("--out=/nowhere/x.json", "no such folder"),
    ],
)
def test_bad_input(flag, message, capsys):
    assert run_command(bench.main, ["saves", flag]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
