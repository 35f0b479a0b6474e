"""Runs in their own process: killed, interrupted, and on eight devices."""

import json
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def run_tiny(run_script):
    return partial(run_script, Path(__file__).with_name("tiny_run.py"))


@pytest.fixture(scope="module")
def finish(run_tiny):
    def finish(*arguments):
        done = run_tiny(*arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return finish


@pytest.fixture(scope="module")
def whole(finish, tmp_path_factory):
    """An uninterrupted run on one device, and its workdir."""
    workdir = tmp_path_factory.mktemp("whole")
    return finish(workdir), workdir


def test_killed_and_started_again_goes_on_with_the_same_numbers(
    finish, run_tiny, tiny, whole, tmp_path
):
    killed = run_tiny(tmp_path, "--signal", "SIGKILL", "--at", 15)
    assert killed.returncode == -signal.SIGKILL
    assert [line["step"] for line in tiny.read_lines(tmp_path)][
        -1
    ] > 12  # lines to be cut off again
    assert finish(tmp_path) == whole[0]
    assert tiny.read_lines(tmp_path) == tiny.read_lines(whole[1])


def test_sigterm_saves_and_leaves(finish, tiny, whole, tmp_path):
    part = finish(tmp_path, "--signal", "SIGTERM", "--at", 14)
    assert (part["interrupted"], part["global_step"]) == ("SIGTERM", 15)
    assert (tmp_path / "checkpoints" / "15" / "checksums.json").is_file()
    assert finish(tmp_path) == whole[0]
    assert tiny.read_lines(tmp_path) == tiny.read_lines(whole[1])


@pytest.fixture(scope="module")
def eight(finish, tmp_path_factory):
    """The workdir of a run on eight devices that was interrupted."""
    workdir = tmp_path_factory.mktemp("eight") / "run"
    finish(workdir, "--devices", 8, "--signal", "SIGTERM", "--at", 14)
    return workdir


@pytest.mark.parametrize("devices", [4, 1])
def test_eight_devices_train_as_one_and_fewer_go_on_from_them(
    devices, finish, tiny, whole, eight, tmp_path
):
    """Dropout and data do not depend on the devices. The order of a sum does, which shows in the
    seventh digit; a larger difference means that a device saw other rows or lost a gradient."""
    workdir = shutil.copytree(eight, tmp_path / "run")
    rest = finish(workdir, "--devices", devices)
    lines, one = tiny.read_lines(workdir), tiny.read_lines(whole[1])
    assert [line["step"] for line in lines] == [line["step"] for line in one]
    for name in ("loss", "grad_norm", "update_norm", "param_norm"):
        for line, other in zip(lines[:6], one[:6], strict=True):
            np.testing.assert_allclose(line["values"][name], other["values"][name], rtol=1e-4)
    assert rest["global_step"] == whole[0]["global_step"] == 24
    for part in ("embed", "head"):
        for name, array in whole[0]["params"][part].items():
            np.testing.assert_allclose(rest["params"][part][name], array, rtol=1e-3, atol=1e-5)
