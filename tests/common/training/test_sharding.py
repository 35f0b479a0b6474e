import json
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from common.training.mesh import make_mesh
from common.training.optimizers import name_leaves
from common.training.sharding import cut_rows, find_shardings, place_params

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


def test_tables_that_are_named_are_split_and_their_moments_follow():
    """Not what only ends like them, nor a number that is named after them."""
    mesh, table = make_mesh(jax.devices()[:1]), jax.ShapeDtypeStruct((4, 2), "float32")
    shapes = {"item": table, "cf": {"item": table, "bias": table}}
    places = place_params(shapes, mesh, ["cf/item"])
    params = jax.tree.map(
        lambda s, p: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=p), shapes, places
    )
    number = jax.ShapeDtypeStruct((), "int32")
    moments = {"mu": shapes, "count": {"cf": {"item": number}}, "step": number}
    found = find_shardings({"params": shapes, "opt_state": [moments]}, mesh, params)
    split = [name for name, place in name_leaves(found) if place.spec == PartitionSpec("model")]
    assert split == ["opt_state/0/mu/cf/item", "params/cf/item"]
    assert len(name_leaves(found)) == 8


def test_added_rows_do_not_count_in_a_checkpoint():
    saved = {"cf/item": ((20, 4), "float32"), "mu/cf/item": ((20, 4), "float32")}
    assert cut_rows(saved, {"cf/item": 17})["mu/cf/item"] == ((17, 4), "float32")
    assert cut_rows(saved, {"item": 17, "x": 3})["cf/item"] == ((17, 4), "float32")
    assert cut_rows(saved, {}) == saved
