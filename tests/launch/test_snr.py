"""The command `snr`: the commands by name, the same as `python -m launch.COMMAND`."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from launch import snr, soak_runs
from launch.bench import all_subjects

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "PYTHONPATH": str(ROOT)}
START = "import sys; from launch.snr import main; sys.exit(main())"  # as the installed script does
HEAVY = {"jax", "numpy", "pyarrow", "grain", "orbax", "flax", "optax"}


def call(*words, code=START):
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, env=ENV, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def test_all_commands_have_a_name():
    modules = {
        path.parent.name if path.stem == "__main__" else path.stem
        for path in (ROOT / "launch").rglob("*.py")
        if '__name__ == "__main__"' in path.read_text()
    }
    assert modules == set(snr.COMMANDS)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_alone_it_lists_the_commands_at_once(words):
    code = f"{START.replace('sys.exit(main())', 'main()')}; print('imported:', *sys.modules)"
    code, out, err = call(*words, code=code)
    assert (code, err) == (0, "")
    text, imported = out.split("imported: ")
    assert not set(imported.split()) & HEAVY
    for name in snr.COMMANDS:
        line = importlib.import_module(f"launch.{name}").__doc__.partition("\n")[0]
        assert f"\n  {name:8}  {line}\n" in text


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("prepair", "command 'prepair': unknown; did you mean prepare?"),
        ("mian", "did you mean main?"),
        ("--config=x", "command '--config=x': unknown; use one of prepare, audit, main, "),
        ("\x1b[2J" + 999 * "x", rf"command '\x1b[2J{36 * 'x'}': unknown; use one of "),
    ],
)
def test_an_unknown_command_is_one_line(word, message):
    code, out, err = call(word)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith("error: command ")
    assert message in err


@pytest.mark.parametrize(
    "words",
    [("main", "--help"), ("main",), ("bench", "data", "--help"), ("audit", "--data=nowhere")],
    ids=" ".join,
)
def test_a_command_is_the_same_as_by_python_m(words):
    name, *rest = words
    done = subprocess.run(
        [sys.executable, "-m", f"launch.{name}", *rest],
        cwd=ROOT, env=ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert call(*words) == (done.returncode, done.stdout, done.stderr)


@pytest.fixture
def another_copy(tmp_path):
    """A checkout with the package `launch` alone, whose `main` says where it is and waits."""
    package = tmp_path / "copy/launch"
    package.mkdir(parents=True)
    for name in ("__init__.py", "snr.py"):
        shutil.copy(ROOT / "launch" / name, package)
    (package / "main.py").write_text(
        "import sys, time\nprint(__file__, *sys.argv[1:], flush=True)\n"
        "time.sleep(0 if sys.argv[1:] else 60)\n"
    )
    return package


def test_ctrl_c_while_a_command_is_imported_is_one_line(another_copy):
    process = subprocess.Popen(
        [sys.executable, "-c", START, "main"], cwd=another_copy.parent, env=os.environ,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "error: stopped by Ctrl-C\n")


@pytest.mark.parametrize("installed", [str(ROOT), ""])
def test_a_child_runs_the_code_of_its_parent(another_copy, installed, tmp_path):
    """Neither the working directory's launch.py, nor another copy that is installed."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "launch.py").write_text("raise SystemExit('foreign')")
    code = (
        "import subprocess, sys; from launch.snr import child_words; "
        "sys.exit(subprocess.run(child_words('main', ['a b']), cwd=sys.argv[1]).returncode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, foreign], cwd=another_copy.parent,
        env=os.environ | {"PYTHONPATH": installed}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert (done.returncode, done.stdout) == (0, f"{another_copy / 'main.py'} a b\n")


def test_all_children_are_started_so(monkeypatch, tmp_path):
    """Those of launch.sweep are in test_sweep.py."""
    started = []

    def start(command, **options):
        started.append(command)
        return SimpleNamespace(returncode=1, wait=lambda: 1)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(subprocess, "run", start)
    soak_runs.start(["--config=F"], tmp_path / "run")
    all_subjects.run_alone("losses", ["--rows=5"])
    words = ["--config=F", f"--workdir={tmp_path / 'run'}", "--notensorboard"]
    assert started[0] == snr.child_words("main", words)
    assert started[1][:-1] == snr.child_words("bench", ["losses", "--rows=5"])
    for path in (ROOT / "launch").rglob("*.py"):
        assert '"-m",' not in path.read_text(), path
