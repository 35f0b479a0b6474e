"""Runs whose batches are gathered on the device, through the command."""

import json

import pytest


def read_lines(workdir):
    lines = [json.loads(text) for text in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key != "timing"} for line in lines]


def test_the_numbers_are_those_of_batches_from_the_host(finished, run, tmp_path):
    found = run(tmp_path, "--config.resident=on")
    assert found.code == 0, found.err
    assert "supervised: batches gathered on the device (the events take" in found.err
    assert read_lines(tmp_path) == read_lines(finished)
    tasks = [
        json.loads((folder / "results.json").read_text())["tasks"]
        for folder in (tmp_path, finished)
    ]
    assert tasks[0] == tasks[1]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.resident=maybe", "config.resident = 'maybe': unknown; use one of auto"),
        (
            "--config.accumulate=3",
            "batch size of stage supervised = 64: does not divide by 1",
        ),
        ("--config.accumulate=0", "accumulate = 0: not above 0; use 1 or more"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_left(run, tmp_path, flag, message):
    found = run(tmp_path / "run", flag)
    assert found.code == 2
    assert message in found.err
    assert not (tmp_path / "run").exists()
