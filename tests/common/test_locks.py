"""One writer per folder; a killed one leaves nothing that keeps others out."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import InputError, WriteError
from common.locks import in_turn, only_writer

ROOT = Path(__file__).resolve().parents[2]
HOLD = (
    "import sys, time; from pathlib import Path; from common.locks import only_writer\n"
    "with only_writer(Path(sys.argv[1]), 'it', 'go'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock, until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lock"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_is_there(holder, tmp_path):
    told = (
        rf"^it: process {holder.pid} on {socket.gethostname()} is at work there; "
        r"wait until it has ended, or leave$"
    )
    with (
        pytest.raises(InputError, match=told),
        only_writer(tmp_path / "lock", "it", "leave"),
    ):
        pass
    assert (tmp_path / "lock").exists()


def test_a_killed_holder_is_told_and_taken_over(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    lines = []
    with only_writer(tmp_path / "lock", "it", "go", say=lines.append):
        assert lines == [
            f"it: process {holder.pid} on {socket.gethostname()} was killed there; taken over"
        ]
    assert list(tmp_path.iterdir()) == []
    with only_writer(tmp_path / "lock", "it", "go", say=lines.append):
        pass
    assert len(lines) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff" * 9, b'{"pid": "a"}', b"[" * 5000])
def test_any_content_is_taken_over(content, tmp_path):
    (tmp_path / "lock").write_bytes(content)
    with only_writer(tmp_path / "lock", "it", "go"):
        assert str(os.getpid()) in (tmp_path / "lock").read_text()


def test_an_error_inside_lets_go(tmp_path):
    with pytest.raises(ZeroDivisionError), only_writer(tmp_path / "lock", "it", "go"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_vanished_lets_go_too(tmp_path):
    folder = tmp_path / "gone"
    folder.mkdir()
    with only_writer(folder / "lock", "it", "go"):
        (folder / "lock").unlink()
        folder.rmdir()
    told = r"^.*/gone/lock: cannot be written"
    with pytest.raises(WriteError, match=told), only_writer(folder / "lock", "it", "go"):
        pass


def test_of_many_at_once_one_is_inside(tmp_path):
    """Each of six processes goes in and out many times, and looks whether it is alone."""
    code = (
        "import sys; from pathlib import Path; from common.locks import only_writer\n"
        "from common.errors import InputError\n"
        "folder, entered = Path(sys.argv[1]), 0\n"
        "for _ in range(2000):\n"
        "    try:\n"
        "        with only_writer(folder / 'lock', 'it', 'go'):\n"
        "            (folder / 'inside').mkdir()\n"  # fails where somebody is inside
        "            (folder / 'inside').rmdir()\n"
        "            entered += 1\n"
        "    except InputError:\n"
        "        pass\n"
        "print(entered)\n"
    )
    many = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
        for _ in range(6)
    ]
    entered = [int(process.communicate(timeout=120)[0]) for process in many]
    assert [process.returncode for process in many] == [0] * 6
    assert sum(entered) > 100


def test_turns_are_taken_one_after_the_other(tmp_path):
    """Another process waits while this one has its turn, and its own ends with it."""
    wait = (
        "import sys; from pathlib import Path; from common.locks import in_turn\n"
        "print('waits', flush=True)\n"
        "with in_turn(Path(sys.argv[1])):\n"
        "    print(Path(sys.argv[2]).read_text(), flush=True)\n"
    )
    said = tmp_path / "said"
    with in_turn(tmp_path / "turn"):
        process = subprocess.Popen(
            [sys.executable, "-c", wait, tmp_path / "turn", said],
            cwd=ROOT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        said.write_text("mine is over")
    assert process.communicate(timeout=60)[0] == "mine is over\n"
