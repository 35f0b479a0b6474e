"""Compiled programs are shared by all tests, their workers and the processes they start."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

# Read by jax when it is imported, so here and not in a fixture. Workers inherit the folder.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    folder = tempfile.mkdtemp(prefix="snr_jax_compiled_")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Most of the tests' time was the compiler's. What it makes so is slower, and small here; numbers
# are compared with others that were made in the same way.
_CHEAP = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):  # later ones do not know these
    _CHEAP += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{_CHEAP} {os.environ.get('XLA_FLAGS', '')}".strip()


@pytest.fixture(scope="session")
def run_script():
    """run_script(file, *arguments): a script in a process of its own, for devices and signals."""
    root = Path(__file__).resolve().parents[1]

    def run(file, *arguments):
        return subprocess.run(
            [sys.executable, file, *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
            capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of the tiny synthetic dataset."""
    from common.runs import prepare  # late: the folder of compiled programs is set above

    path = tmp_path_factory.mktemp("data") / "tiny"
    return prepare(path, source="synthetic", preset="tiny")
