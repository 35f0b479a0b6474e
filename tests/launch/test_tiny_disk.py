"""A file system that is full, in a mount of its own: one line, however many files were written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def in_a_small_disk(folder: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs words with 1,200 kB of room at `folder`, which nobody else sees."""
    script = 'mount -t tmpfs -o size=1200k none "$0" && exec "$@"'
    return subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, folder, *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture
def disk(tmp_path):
    """A folder that can be a small disk; skips where the system allows no mounts."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("unshare") is None or in_a_small_disk(folder, ["true"]).returncode:
        pytest.skip("no mounts of one's own here")
    return folder


@pytest.mark.parametrize("board", ["--notensorboard", "--tensorboard"])
def test_a_full_disk_is_one_line(disk, tiny, board):
    done = in_a_small_disk(
        disk,
        [
            sys.executable, "-m", "launch.main", "--config=lcr_jax/configs/tiny.py", board,
            f"--config.data.path={tiny}", f"--workdir={disk / 'run'}",
        ],
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    told = [line for line in done.stderr.splitlines() if "  step " not in line]
    *before, line = told
    assert line.startswith(f"error: {disk}/run/")
    assert line.endswith("mend that, then start the same command again")
    assert "(No space left on device)" in line
    assert len(before) <= 2, done.stderr  # what runs, and where its batches are gathered
    assert "Traceback" not in done.stderr
    assert "Event loop" not in done.stderr
