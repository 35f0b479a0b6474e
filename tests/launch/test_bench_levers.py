"""The benchmark of the trainer's levers."""

import json

import pytest

from launch import bench

# LCR with little to compile, for each lever is a program of its own.
SMALL = """
from lcr_jax.configs import tiny

def get_config(arg=""):
    config = tiny.get_config(arg)
    config.model.layers = config.reasoner.steps = 1
    config.loss.alignment_weight = config.loss.contrastive_weight = 0.0
    return config
"""


@pytest.fixture
def measure(tiny, tmp_path, quick_compiler, capsys):
    """measure(config) -> the report of a small run, and what it printed."""

    def run(config):
        out = tmp_path / "levers.json"
        flags = ["--batch=16", "--many=2", "--steps=2", "--blocks=5", f"--out={out}"]
        code = bench.main(["levers", f"--config={config}", f"--data={tiny}", *flags])
        assert code == 0
        return json.loads(out.read_text()), capsys.readouterr().out

    return run


def test_every_lever_is_measured_beside_the_plain_way(measure, tmp_path):
    small = tmp_path / "small.py"
    small.write_text(SMALL)
    report, printed = measure(small)
    names = ["plain", "metrics read at once", "2 steps a call", "resident",
             "resident, 2 steps a call", "2 parts"]  # fmt: skip
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


def test_packed_sequences_have_fewer_levers(measure):
    report, _ = measure("baselines_jax/configs/sasrec_tiny.py")
    assert list(report["levers"]) == ["plain", "metrics read at once", "2 steps a call"]
