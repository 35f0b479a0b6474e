"""Gradients do not depend on the mesh; in a process of its own that has eight devices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

STAGES = {"lcr": ["supervised", "reinforce"], "gensr": ["pretrain_cf", "tune"]}


@pytest.fixture(scope="module")
def gradients(run_script, tiny, tmp_path_factory):
    """{"METHOD|MESH|STAGE/NAME": array}"""
    out = tmp_path_factory.mktemp("gradients") / "gradients.npz"
    done = run_script(Path(__file__).with_name("split_gradients.py"), tiny, out)
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


def pick(gradients, method, mesh, stage):
    start = f"{method}|{mesh}|{stage}/"
    return {
        name.removeprefix(start): array.astype(np.float64)
        for name, array in gradients.items()
        if name.startswith(start)
    }


@pytest.mark.parametrize(
    ("method", "stage"), [(method, stage) for method in STAGES for stage in STAGES[method]]
)
def test_a_mesh_of_both_axes_has_the_gradients_of_one_device(gradients, method, stage):
    """The order of a sum may differ, which shows in the seventh digit."""
    one = pick(gradients, method, "data:1", stage)
    split = pick(gradients, method, "data:4,model:2", stage)
    whole = np.sqrt(sum(np.square(array).sum() for array in one.values()))
    assert len(one) > 2
    assert whole > 0
    assert one.keys() == split.keys()
    for name, array in one.items():
        # A bias of keys shifts all logits alike: its gradient is zero but for rounding.
        allowed = 1e-5 * np.linalg.norm(array) + 1e-8 * whole
        assert np.linalg.norm(split[name] - array) <= allowed, name


@pytest.mark.parametrize(
    ("method", "stage"), [("lcr", "supervised"), ("lcr", "reinforce"), ("gensr", "tune")]
)
def test_no_device_gathers_a_table(gradients, method, stage):
    """Or a table would have to fit on each."""
    assert gradients[f"{method}|data:4,model:2|{stage}|gathered"].tolist() == []
