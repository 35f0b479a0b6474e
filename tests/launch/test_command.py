"""What all commands share: instant help, one line for a bad flag, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from common.errors import InputError
from launch.command import run_command

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "prepare": ["prepare"],
    "audit": ["audit"],
    "main": ["main", "--config=lcr_jax/configs/tiny.py"],
    "bench": ["bench"],
    "bench data": ["bench", "data"],
}
HEAVY = {"jax", "numpy", "pyarrow", "grain", "orbax", "flax", "optax"}
SCRIPT = """
import importlib, sys
from launch.command import run_command
command = importlib.import_module("launch." + sys.argv[1])
try:
    code = run_command(command.main, sys.argv[2:])
except SystemExit as leave:
    code = leave.code
print("imported:", *sys.modules)
sys.exit(code)
"""


def start(words):
    """Exit code, printed lines, error lines and the imported packages of a command."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], cwd=ROOT, capture_output=True, text=True
    )
    *lines, imported = done.stdout.splitlines()
    assert imported.startswith("imported: ")
    return done.returncode, lines, done.stderr.splitlines(), set(imported.split()[1:])


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_help_comes_at_once(words):
    code, lines, errors, imported = start([*words, "--help"])
    assert (code, errors) == (0, [])
    assert any(f"python -m launch.{words[0]}" in line for line in lines)
    assert not imported & HEAVY


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_a_flag_that_does_not_exist_is_one_line(words):
    code, _, errors, imported = start([*words, "--nonsense=1"])
    assert code == 2
    assert len(errors) == 1
    assert errors[0].startswith("error: ")
    assert "nonsense" in errors[0]
    assert not imported & HEAVY


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("file, row 3: what; mend it"), 2), (FloatingPointError("step 7: loss is nan"), 1)],
)
def test_errors_become_one_line_and_an_exit_code(error, code, capsys):
    def fail(argv):
        raise error

    assert run_command(fail, []) == code
    assert capsys.readouterr() == ("", f"error: {error}\n")


def test_other_errors_are_not_hidden():
    """A fault of the program keeps its traceback."""
    with pytest.raises(ZeroDivisionError):
        run_command(lambda argv: 1 // 0, [])
