"""What `bench saves` prints and writes. Speed is not asserted."""

from __future__ import annotations

import re

import pytest


def test_the_report(tmp_path, measure):
    folder = tmp_path / "disk"
    folder.mkdir()
    report, printed = measure("saves", "--megabytes=3", "--saves=1", f"--folder={folder}")
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
    ],
)
def test_bad_input(flag, message, refuse):
    assert message in refuse("saves", flag)
