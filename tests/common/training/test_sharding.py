import json
from pathlib import Path

import numpy as np
import pytest
from jax.sharding import PartitionSpec

from common.training.sharding import cut_rows, find_spec

MESHES = ("data:8", "data:4,model:2", "data:2,model:4")  # beside "data:1"


@pytest.fixture(scope="module")
def runs(run_script, tmp_path_factory):
    script = Path(__file__).with_name("split_runs.py")
    done = run_script(script, tmp_path_factory.mktemp("split"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("mesh", MESHES)
def test_every_mesh_gives_the_same_run(runs, mesh):
    """Eight devices against one; Adam divides by small numbers, which magnifies their last bits."""
    np.testing.assert_allclose(runs[mesh]["loss"], runs["data:1"]["loss"], rtol=1e-5)
    np.testing.assert_allclose(runs[mesh]["table"], runs["data:1"]["table"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("mesh", "rows", "added"), list(zip(MESHES, (17, 9, 5), (0, 1, 3), strict=True))
)
def test_tables_are_split_by_rows_and_added_rows_stay_zeros(runs, mesh, rows, added):
    assert runs[mesh]["rows_on_a_device"] == rows
    assert runs[mesh]["added"] == [[0.0] * 4] * added


def test_a_checkpoint_of_one_mesh_goes_on_on_another(runs):
    moved = runs["moved"]
    assert len(moved["loss"]) == len(runs["data:1"]["loss"])
    np.testing.assert_allclose(moved["loss"], runs["data:1"]["loss"], rtol=1e-5)
    assert np.shape(moved["read"]) == (17, 4)
    np.testing.assert_array_equal(moved["read"], moved["table"])


def test_names_that_are_split():
    split = ("item/embedding", "embedding/item_id/embedding", "cf/user", "model/t5/shared")
    for name in split:
        assert find_spec(name, 2) == PartitionSpec("model"), name
        assert find_spec(f"opt_state/0/mu/{name}", 2) == PartitionSpec("model"), name
    for name in ("item/kernel", "encoder/item_gate/kernel", "model/t5/head", "head/bias"):
        assert find_spec(name, 2) == PartitionSpec(), name
    assert find_spec("cf/item", 0) == PartitionSpec()


def test_added_rows_do_not_count_in_a_checkpoint():
    saved = {"cf/item": ((20, 4), "float32"), "mu/cf/item": ((20, 4), "float32")}
    assert cut_rows(saved, {"cf/item": 17})["mu/cf/item"] == ((17, 4), "float32")
    assert cut_rows(saved, {"item": 17, "x": 3})["cf/item"] == ((17, 4), "float32")
    assert cut_rows(saved, {}) == saved
