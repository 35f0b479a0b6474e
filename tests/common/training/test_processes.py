"""Runs in their own process: killed, interrupted, and on eight devices."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve()
SCRIPT = HERE.parent / "tiny_run.py"
ROOT = HERE.parents[3]


def run_script(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def finish(*arguments):
    done = run_script(*arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run on one device, and its workdir."""
    workdir = tmp_path_factory.mktemp("whole")
    return finish(workdir), workdir


def test_killed_and_started_again_goes_on_with_the_same_numbers(tiny, whole, tmp_path):
    killed = run_script(tmp_path, "--signal", "SIGKILL", "--at", 15)
    assert killed.returncode == -signal.SIGKILL
    assert [line["step"] for line in tiny.read_lines(tmp_path)][
        -1
    ] > 12  # lines to be cut off again
    assert finish(tmp_path) == whole[0]
    assert tiny.read_lines(tmp_path) == tiny.read_lines(whole[1])


def test_sigterm_saves_and_leaves(tiny, whole, tmp_path):
    part = finish(tmp_path, "--signal", "SIGTERM", "--at", 14)
    assert (part["interrupted"], part["global_step"]) == ("SIGTERM", 15)
    assert (tmp_path / "checkpoints" / "15" / "sizes.json").is_file()
    assert finish(tmp_path) == whole[0]
    assert tiny.read_lines(tmp_path) == tiny.read_lines(whole[1])


def test_eight_devices_train_as_one_and_one_goes_on_from_them(tiny, whole, tmp_path):
    """Dropout and data do not depend on the devices. The order of a sum does, which shows in the
    seventh digit; a larger difference means that a device saw other rows or lost a gradient."""
    finish(tmp_path, "--devices", 8, "--signal", "SIGTERM", "--at", 14)
    eight, one = tiny.read_lines(tmp_path), tiny.read_lines(whole[1])
    for name in ("loss", "grad_norm", "update_norm", "param_norm"):
        for line, other in zip(eight[:6], one[:6], strict=True):
            np.testing.assert_allclose(line["values"][name], other["values"][name], rtol=1e-4)
    rest = finish(tmp_path)
    assert rest["global_step"] == whole[0]["global_step"] == 24
    for part in ("embed", "head"):
        for name, array in whole[0]["params"][part].items():
            np.testing.assert_allclose(rest["params"][part][name], array, rtol=1e-3, atol=1e-5)
