"""The benchmark of the trainer's levers."""

import re
import sys
from pathlib import Path

import pytest

from baselines_jax.configs import sasrec_tiny
from gensr_jax.configs import tiny as gensr_tiny
from launch.bench.levers import Flags, name_levers

PAGE = Path(__file__).resolve().parents[3] / "docs/add_a_method.md"
QUICK = ["--batch=64", "--many=2", "--steps=2", "--blocks=1"]


@pytest.fixture
def small_method(tmp_path, monkeypatch):
    """The config of the method of a page: each lever is a program, and this one has few lines."""
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        file = tmp_path / code.splitlines()[0].removeprefix("# ")
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "config.py"
    for name in ("my_method", "my_method.task"):
        sys.modules.pop(name, None)


def test_every_lever_is_measured_beside_the_plain_way(measure, tiny, small_method):
    report, printed = measure("levers", f"--config={small_method}", f"--data={tiny}", *QUICK)
    names = ["plain", "2 steps a call", "resident", "resident, 2 steps a call", "2 parts"]
    assert list(report["levers"]) == names
    for name, lever in report["levers"].items():
        rate = lever["examples_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        # Each rate is that of 64 rows in the time of a step.
        assert rate["median"] == pytest.approx(64e3 / lever["ms_per_step"]["median"])
        assert 0 <= lever["wait_share"]["median"] < 1
        assert f"\n{name} " in printed
    plain = report["levers"]["plain"]
    assert plain["speed_over_plain"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    for name in ("2 steps a call", "2 parts"):  # other programs
        assert report["levers"][name]["temporary_bytes"] != plain["temporary_bytes"], name
    assert set(report["summary"]) == {"plain examples/s"} | {
        f"{name}, speed over plain" for name in names[1:]
    }
    assert report["compile_seconds"]["cold"] > 0


def test_the_levers_of_a_config():
    """Packed sequences have fewer, GenSR has its own."""
    flags = Flags(many=4)
    assert name_levers(sasrec_tiny.get_config(), flags, packed=True) == {
        "4 steps a call": {"steps_per_dispatch": 4}
    }
    levers = name_levers(gensr_tiny.get_config(), flags, packed=False)
    assert levers["resident, 4 steps a call"] == {"resident": "on", "steps_per_dispatch": 4}
    assert list(levers)[-2:] == ["bfloat16", "rematerialised"]
