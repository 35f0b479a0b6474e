"""Runs whose batches are gathered on the device, through the command."""

import pytest

from launch.soak import compare_runs


def test_the_numbers_are_those_of_batches_from_the_host(finished, run, tmp_path):
    found = run(tmp_path, "--config.resident=on")
    assert found.code == 0, found.err
    assert "supervised: batches gathered on the device (the events take" in found.err
    assert compare_runs(tmp_path, finished) == []


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.resident=maybe", "config.resident = 'maybe': give one of auto, on, off"),
        (
            "--config.accumulate=3",
            "batch size of stage supervised = 64: does not divide by 1",
        ),
        ("--config.accumulate=0", "config.accumulate = 0: give a whole number of at least 1"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_left(run, tmp_path, flag, message):
    found = run(tmp_path / "run", flag)
    assert found.code == 2
    assert message in found.err
    assert not (tmp_path / "run").exists()
