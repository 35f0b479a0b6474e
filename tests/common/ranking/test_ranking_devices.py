"""Ranks do not depend on the number of devices. Runs in a process of its own."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import importlib.util, sys
from functools import partial
import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)

import numpy as np
from common.ranking.protocols import evaluate
from common.training.mesh import make_mesh, put_batch, put_full

spec = importlib.util.spec_from_file_location("makers", sys.argv[1])
makers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(makers)

dataset = makers.make_dataset()
task, params = makers.make_task(), makers.make_params()
results = []
for devices in (1, 8):
    mesh = make_mesh(jax.devices()[:devices])
    options = {"batch_size": 32, "chunk_bytes": 4 * 32 * 256, "put_batch": partial(put_batch, mesh)}
    placed = jax.tree.map(partial(put_full, mesh), params)
    ranks = evaluate(task, placed, {}, dataset, **options).ranks
    results.append(ranks)
for key, table in results[0].items():
    np.testing.assert_array_equal(np.stack(table), np.stack(results[1][key]), str(key))
print("same", len(results[0]))
"""


def test_eight_devices_rank_like_one():
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(Path(__file__).with_name("conftest.py"))],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == ["same", "6"]
