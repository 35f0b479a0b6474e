"""The benchmark of the trainer's levers."""

import pytest

from baselines_jax.configs import sasrec_tiny
from gensr_jax.configs import tiny as gensr_tiny
from launch.bench.levers import Flags, name_levers

# LCR with little to compile, for each lever is a program of its own.
SMALL = """
from lcr_jax.configs import tiny

def get_config(arg=""):
    config = tiny.get_config(arg)
    config.model.layers = config.reasoner.steps = 1
    config.loss.alignment_weight = config.loss.contrastive_weight = 0.0
    return config
"""


QUICK = ["--batch=16", "--many=2", "--steps=2", "--blocks=1"]


def test_every_lever_is_measured_beside_the_plain_way(measure, tiny, tmp_path, quick_compiler):
    small = tmp_path / "small.py"
    small.write_text(SMALL)
    report, printed = measure("levers", f"--config={small}", f"--data={tiny}", *QUICK)
    names = ["plain", "2 steps a call", "resident", "resident, 2 steps a call", "2 parts"]
    assert list(report["levers"]) == names
    for name, lever in report["levers"].items():
        rate = lever["examples_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"]
        # Each rate is that of 16 rows in the time of a step.
        assert rate["median"] == pytest.approx(16e3 / lever["ms_per_step"]["median"])
        assert 0 <= lever["wait_share"]["median"] < 1
        assert f"\n{name} " in printed
    plain = report["levers"]["plain"]
    assert plain["speed_over_plain"] == {"median": 1.0, "min": 1.0, "max": 1.0}
    assert report["levers"]["2 parts"]["temporary_bytes"] < plain["temporary_bytes"]
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
