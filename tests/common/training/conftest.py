import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent / "tiny_run.py"


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The tiny task of `tiny_run.py`, which is also a script for tests in their own process."""
    name = "tiny_run_of_training_tests"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, SCRIPT)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


@pytest.fixture(scope="session")
def flip_a_bit():
    """flip_a_bit(file): damage that leaves the size as it is."""

    def flip(file: Path) -> None:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)

    return flip
