"""The same parameters rank alike on a CPU and on an accelerator."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

from common.platform import made_for
from common.ranking.protocols import evaluate
from common.ranking.results import summarize_ranks
from common.runs.config_file import load_config_file
from common.runs.methods import settle
from common.runs.tasks import build_task, take_batch
from common.training.mesh import fetch, make_mesh, put_batch, put_full
from common.training.step import init_params, place_key, prepare_constants

CONFIGS = ("lcr_jax/configs/tiny.py", "gensr_jax/configs/tiny.py",
           "baselines_jax/configs/sasrec_tiny.py")  # fmt: skip


def find_accelerator() -> str:
    """ "gpu" or "tpu"; "" where JAX sees neither."""
    platform = jax.default_backend()
    return "" if platform == "cpu" else platform


@pytest.mark.skipif(not find_accelerator(), reason="JAX sees no accelerator")
@pytest.mark.parametrize("config", CONFIGS)
def test_ranks_are_those_of_the_cpu(config, dataset):
    """In all but a thousandth of the rows; so the intervals agree to the digits that are told."""
    settings = settle(load_config_file(config))
    task = build_task(settings, dataset)
    here = make_mesh(jax.devices("cpu")[:1])
    batch = put_batch(here, take_batch(task, dataset))
    with made_for("cpu"):
        params, constants = init_params(task, place_key(0, "init", here), batch, here)
        for stage in task.stages:
            constants = prepare_constants(stage, params, constants, here)
    model = jax.device_get((params, constants))

    def rank_on(platform):
        mesh = make_mesh(jax.devices(platform)[:1])
        with made_for(platform):
            return evaluate(
                task, *jax.tree.map(partial(put_full, mesh), model), dataset, batch_size=64,
                put_batch=partial(put_batch, mesh), fetch=partial(fetch, mesh),
            ).ranks  # fmt: skip

    one, other = rank_on("cpu"), rank_on(find_accelerator())
    differing = {
        key: float(np.mean((one[key].rank_low != table.rank_low)
                           | (one[key].rank_high != table.rank_high)))
        for key, table in other.items()
    }  # fmt: skip
    assert max(differing.values()) <= 1e-3, differing
    found, again = summarize_ranks({"": one}), summarize_ranks({"": other})
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-3), found, again)
