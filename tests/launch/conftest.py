"""The tiny dataset and one finished run on it, shared by the tests of the commands."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from common.data.folder import load_dataset
from launch import main as train_command
from launch.command import run_command

ROOT = Path(__file__).resolve().parents[2]
TINY = ROOT / "lcr_jax/configs/tiny.py"
GENSR = ROOT / "gensr_jax/configs/tiny.py"


class Outcome(NamedTuple):
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def load_beside():
    """load_beside(name) -> a module beside this file: a test module cannot import it by name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def small_runs(load_beside):
    """The module small_runs.py."""
    return load_beside("small_runs")


@pytest.fixture(scope="session")
def dataset(tiny):
    """The tiny dataset."""
    return load_dataset(tiny)


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """A workdir in which the tiny config has been trained and evaluated."""
    workdir = tmp_path_factory.mktemp("runs") / "finished"
    assert train_command.main(arguments(tiny, workdir)) == 0
    return workdir


class GenSRRun(NamedTuple):
    """A finished run of GenSR and the flags that made it."""

    flags: list[str]
    workdir: Path


@pytest.fixture(scope="session")
def gensr(tiny, tmp_path_factory):
    """GenSR's tiny config, trained and evaluated."""
    workdir = tmp_path_factory.mktemp("gensr") / "run"
    flags = [
        f"--config={GENSR}", f"--config.data.path={tiny}",
        "--config.text.vocabulary=256", "--config.train.batch_size=64", "--notensorboard",
    ]  # fmt: skip
    assert train_command.main([*flags, f"--workdir={workdir}"]) == 0
    return GenSRRun(flags, workdir)


@pytest.fixture
def gensr_copy(gensr, tmp_path):
    """A workdir with what GenSR's run has learned, to be written into."""
    workdir = tmp_path / "gensr"
    workdir.mkdir()
    for name in ("config.json", "checkpoints"):
        (workdir / name).symlink_to(gensr.workdir / name)
    return workdir


def arguments(data: Path, workdir: Path, *more: str) -> list[str]:
    return [
        f"--config={TINY}",
        f"--config.data.path={data}",
        f"--workdir={workdir}",
        "--notensorboard",
        *more,
    ]


@pytest.fixture
def run(tiny, capsys):
    """run(workdir, *flags, data=...) -> Outcome of `launch.main`."""

    def call(workdir: Path, *more: str, data: Path = tiny) -> Outcome:
        capsys.readouterr()
        code = run_command(train_command.main, arguments(data, workdir, *more))
        out, err = capsys.readouterr()
        return Outcome(code, out, err)

    return call
