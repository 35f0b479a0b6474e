"""The wheel: what is in it, and that it works from a folder that has a `launch.py` of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest

from common.ranking.results import read_results

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("baselines_jax", "common", "gensr_jax", "launch", "lcr_jax")
# Few rows, short texts, one epoch: what is left of the time is the compiler's.
FEW = ("--config.data.min_history=12", "--config.train.epochs=1", "--notensorboard")
LCR = ("--config=lcr_jax/configs/tiny.py", "--config.reasoner.steps=1", *FEW)
GENSR = (
    "--config=gensr_jax/configs/tiny.py", "--config.cf.epochs=1", "--config.text.vocabulary=256",
    "--config.text.title_full=2", "--config.text.title_head=1", "--config.text.query_length=2",
    "--config.train.batch_size=64", "--config.train.negatives=1",
    "--config.train.probe_every_steps=0", "--config.train.metric=mean/uniform5/NDCG@5",
    "--config.eval.batch_size=64", "--config.eval.retrieve=0", *FEW,
)  # fmt: skip
PREPARE = ("prepare", "--source=synthetic", "--preset=tiny", "--negatives=5")
KNN = "baselines_jax/configs/item_knn_demo.py"
# Without a PYTHONPATH, in which the checkout may be.
ENV = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
# Compiled in half the time.
ON_CPU = {"JAX_PLATFORMS": "cpu"}
FOREIGN = "raise SystemExit('this is the module of the working directory')\n"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: a checkout would keep build/ and pass old files on."""
    copy = tmp_path_factory.mktemp("source")
    for room in ROOMS:
        shutil.copytree(ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    out = tmp_path_factory.mktemp("wheel")
    words = ("wheel", "--quiet", "--no-deps", "--no-build-isolation", f"--wheel-dir={out}", copy)
    subprocess.run([sys.executable, "-m", "pip", *words], check=True)
    [path] = out.iterdir()
    return path


class Installed(NamedTuple):
    """An environment that has the wheel, and a folder that shadows two of its packages."""

    bin: Path
    folder: Path

    def snr(self, *words: str, without: str = "", **more: str) -> str:
        """What `snr WORDS` prints, with the environment changed; it must end with 0."""
        env = {name: value for name, value in ENV.items() if name != without}
        done = subprocess.run(
            [self.bin / "snr", *words], cwd=self.folder, env=env | ON_CPU | more,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    def results(self, workdir: str) -> dict:
        return read_results(self.folder / workdir / "results.json")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel in a fresh environment that borrows the packages of this one.

    A .pth file names their folder. Python does not look for further .pth files there, so the
    editable installation of the checkout is not borrowed with them.
    """
    home = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin/python"
    words = ("--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, env=ENV)
    show = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", show], text=True, env=ENV).strip())
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("".join(f"{path}\n" for path in sorted(borrowed)))

    folder = tmp_path_factory.mktemp("foreign")
    (folder / "launch.py").write_text(FOREIGN)
    (folder / "common").mkdir()
    (folder / "common/__init__.py").write_text(FOREIGN)

    show = f"import sys, {', '.join(ROOMS)}\nprint(*sys.path, sep='\\n')\n"
    show += f"for name in {ROOMS}: print(sys.modules[name].__file__)"
    lines = subprocess.check_output([python, "-P", "-c", show], text=True, env=ENV, cwd=folder)
    assert str(ROOT) not in lines.splitlines()
    files = lines.splitlines()[-len(ROOMS) :]
    assert files == [str(site / room / "__init__.py") for room in ROOMS]
    return Installed(home / "bin", folder)


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel):
    """Code, configs, job files, tables of numbers, and py.typed for type checkers."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        [licence] = [name for name in archive.namelist() if name.endswith("LICENSE")]
        assert archive.read(licence) == (ROOT / "LICENSE").read_bytes()
    there = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == there
    assert {f"{room}/py.typed" for room in ROOMS} <= packed
    assert "launch/jobs/slurm.sh" in packed


def test_it_runs_without_a_home(installed):
    def snr(*words):
        return installed.snr(*words, without="HOME")

    snr(*PREPARE, "--out=datasets/tiny")
    snr("main", *LCR, "--workdir=runs/lcr")
    snr("main", *GENSR, "--workdir=runs/gensr")
    assert installed.results("runs/lcr")["method"] == "lcr"
    assert set(installed.results("runs/gensr")["tasks"]) == {"rec", "search"}


def test_it_runs_with_a_home_that_nobody_can_write(installed):
    """HOME is a file, for root may write into any folder.

    Where no folder is given for compiled programs it is below HOME; they are not kept, then.
    """

    def snr(*words, without=""):
        return installed.snr(*words, without=without, HOME=str(installed.folder / "launch.py"))

    snr(*PREPARE, "--out=datasets/again")
    data = "--config.data.path=datasets/again"
    snr("main", *LCR, data, "--workdir=runs/again")
    first, again = (installed.results(f"runs/{name}") for name in ("lcr", "again"))
    assert again["tasks"] == first["tasks"]
    # A sweep starts a process for each of its runs, which must not find the foreign launch.py.
    words = (f"--config={KNN}", data, "--workdir=runs/knn", "--notensorboard")
    printed = snr("sweep", *words, without="JAX_COMPILATION_CACHE_DIR")
    assert printed.endswith("runs/knn/seed0\n")
    assert installed.results("runs/knn/seed0")["method"] == "item_knn"
    # Of GenSR what was trained above is judged again: training would take half a minute more.
    before = installed.results("runs/gensr")["tasks"]
    (installed.folder / "runs/gensr/results.json").unlink()
    snr("main", "--workdir=runs/gensr", "--mode=evaluate")
    assert installed.results("runs/gensr")["tasks"] == before
