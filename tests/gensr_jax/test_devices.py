"""Gradients do not depend on the number of devices; in a process of its own that has eight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def gradients(run_script, tmp_path_factory):
    """{"tune/8/grads/NAME": array, ...}"""
    out = tmp_path_factory.mktemp("gradients") / "gradients.npz"
    done = run_script(Path(__file__).with_name("gradients.py"), out)
    assert done.returncode == 0, done.stderr
    return dict(np.load(out))


@pytest.mark.parametrize("stage", ["tune", "pretrain_cf"])
def test_eight_devices_have_the_gradients_of_one(gradients, stage):
    """The order of a sum may differ, which shows in the seventh digit."""
    one, eight = (
        {
            name.removeprefix(prefix): array.astype(np.float64)
            for name, array in gradients.items()
            if name.startswith(prefix)
        }
        for prefix in (f"{stage}/1/", f"{stage}/8/")
    )
    whole = np.sqrt(sum(np.square(array).sum() for array in one.values()))
    assert len(one) > 2
    assert one.keys() == eight.keys()
    for name, array in one.items():
        # A bias of keys shifts all logits alike: its gradient is zero but for rounding.
        allowed = 1e-5 * np.linalg.norm(array) + 1e-8 * whole
        assert np.linalg.norm(eight[name] - array) <= allowed, name
