"""How a command ends when something outside of it ends: a reader, a person, a disk, a home."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
COMMANDS = ("main", "prepare", "audit", "compare", "study", "sweep", "soak", "bench")
DIRTY = "\x1b[2Jred \u4e2d"


def command(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"launch.{name}", *words]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_reader_that_has_left_is_no_traceback(name):
    """As `python -m launch.main --help | head -1`, with a reader who never reads."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command(name, "--help"),
        cwd=ROOT,
        env=ENV,
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_reader_of_errors_that_has_left_is_no_other_exit(tmp_path):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        command("audit", "--data=x"), cwd=ROOT, env=ENV, stdout=write, stderr=write, check=False
    )
    os.close(write)
    assert done.returncode == 141


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_under_what_is_printed_is_one_line():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("main", "--help"), cwd=ROOT, env=ENV, stdout=full, stderr=subprocess.PIPE,
            text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: what is printed or written: No space left on device;")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "code", "line"),
    [
        (signal.SIGINT, 130, "error: stopped by Ctrl-C\n"),
        (signal.SIGTERM, 143, "error: stopped by SIGTERM\n"),
    ],
)
def test_a_signal_ends_prepare_with_one_line_and_nothing_behind(number, code, line, tmp_path):
    process = subprocess.Popen(
        command("prepare", "--source=synthetic", "--preset=kuaisar_scale", f"--out={tmp_path}/d"),
        cwd=ROOT, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "generating" in process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (code, line)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_while_a_command_is_imported_is_one_line(tmp_path):
    """`launch.slow` stands for any command that is still importing."""
    package = tmp_path / "launch"
    package.mkdir()
    shutil.copy(ROOT / "launch/__init__.py", package)
    (package / "slow.py").write_text("import time\nprint('here', flush=True)\ntime.sleep(60)\n")
    process = subprocess.Popen(
        command("slow"), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "error: stopped by Ctrl-C\n")


def test_what_a_terminal_cannot_show_is_written_out(tmp_path):
    """A path stands for titles and queries: they come out by the same streams."""
    done = subprocess.run(
        command("audit", f"--data={tmp_path / DIRTY}"), cwd=ROOT, capture_output=True, check=False,
        env={**ENV, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 2
    assert b"\\x1b[2Jred \\u4e2d: no such folder" in done.stderr
    assert b"\x1b" not in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() or shutil.which("setpriv") is None,
    reason="needs root, to become a user without a name",
)
def test_a_user_without_name_and_home_goes_without_the_cache():
    code = (
        "import jax\nfrom common.runs.run import use_compilation_cache\nuse_compilation_cache()\n"
        "print(jax.config.jax_compilation_cache_dir)"
    )
    words = ["setpriv", "--reuid=54321", "--clear-groups", "--inh-caps=+dac_override"]
    names = ("HOME", "USER", "LOGNAME", "JAX_COMPILATION_CACHE_DIR")
    env = {name: value for name, value in ENV.items() if name not in names}
    done = subprocess.run(
        [*words, "--ambient-caps=+dac_override", sys.executable, "-c", code],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr
