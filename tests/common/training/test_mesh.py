from types import MappingProxyType

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from common.errors import InputError
from common.training.mesh import check_batch_size, make_mesh, put_batch, read_mesh, share_rows


def test_mesh_has_two_auto_axes():
    mesh = make_mesh()
    assert mesh.axis_names == ("data", "model")
    assert mesh.axis_types == (AxisType.Auto,) * 2
    assert mesh.shape["data"] == len(jax.devices())


def test_mesh_of_a_config():
    assert read_mesh("") == make_mesh()
    assert read_mesh("data:1, model:1") == read_mesh("model:1") == make_mesh(jax.devices()[:1])


@pytest.mark.parametrize("text", ["data", "data:0", "rows:2", "data:2.5", "data:2;model:2"])
def test_text_that_is_no_mesh(text):
    with pytest.raises(InputError, match="write it as data:8 or data:4,model:2"):
        read_mesh(text)


def test_more_devices_than_there_are():
    with pytest.raises(InputError) as error:
        read_mesh("data:512,model:2")
    assert str(error.value).startswith("config.mesh = 'data:512,model:2': asks for 1024 devices")


@pytest.mark.parametrize(
    ("owners", "parts"),
    [
        ([[0], [0], [1], [1]], {0: (0, 2), 1: (1, 2)}),  # two processes, data:4
        ([[0, 0], [1, 1]], {0: (0, 2), 1: (1, 2)}),  # data:2,model:2: a process has its tables
        ([[0, 1]], {0: (0, 1), 1: (0, 1)}),  # model:2: both see all rows
        ([[0, 1], [2, 3]], {0: (0, 2), 1: (0, 2), 2: (1, 2), 3: (1, 2)}),
        ([[0], [1], [0], [1]], {0: (0, 2), 1: (1, 2)}),  # a TPU's mesh may go zigzag
    ],
)
def test_processes_that_see_the_same_rows_read_the_same_part(owners, parts):
    for process, part in parts.items():
        assert share_rows(np.array(owners), process) == part


def test_processes_that_see_some_rows_together():
    with pytest.raises(ValueError, match="the 2 devices of 'model' begin in one process and end"):
        share_rows(np.array([[0, 0], [0, 1], [1, 1]]), 0)


def test_put_batch_keeps_dtypes_and_leaves_host_fields():
    batch = {
        "valid": np.ones(8, np.uint8),
        "target": np.arange(8, dtype=np.int32),
        "rec_mask": np.ones((8, 3), np.uint8),
        "row": np.arange(8),
        "rec_age_ms": np.zeros((8, 3), np.int64),
        "search_row": np.zeros((8, 3), np.int64),
        "search_age_ms": np.zeros((8, 3), np.int64),
    }
    placed = put_batch(make_mesh(jax.devices()[:1]), batch)
    assert sorted(placed) == ["rec_mask", "target", "valid"]
    for name, array in placed.items():
        assert array.dtype == batch[name].dtype
        np.testing.assert_array_equal(array, batch[name])


class _Mesh16:
    shape = MappingProxyType({"data": 16, "model": 2})


@pytest.mark.parametrize(("rows", "use"), [(200, "192 or 208"), (3, "16"), (0, "16")])
def test_uneven_batch_names_both_numbers(rows, use):
    with pytest.raises(InputError) as error:
        check_batch_size(_Mesh16, rows)
    assert str(error.value) == (f"batch_size = {rows}: does not divide by 16 devices; use {use}")
    check_batch_size(_Mesh16, 192)
