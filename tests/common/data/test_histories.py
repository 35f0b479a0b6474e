"""Histories gathered on a device are those of the host, integer for integer."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import training_source
from common.data.histories import ENDS, Columns, take_columns
from common.data.view import HOST_FIELDS, View
from common.errors import InputError
from common.training.resident import Resident

PROPERTY = settings(derandomize=True, deadline=None, max_examples=30)


def narrow(columns, to=jnp.asarray):
    return Columns(*(to(column.astype(np.int32)) for column in columns))


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    order=st.sampled_from(["time", "source"]),
    task=st.sampled_from(["rec", "search", "both"]),
    lengths=st.tuples(st.integers(1, 9), st.integers(1, 5), st.integers(1, 3)),
    searches=st.booleans(),
)
def test_a_device_gathers_what_the_host_gathers(
    random_log, make_dataset, seed, order, task, lengths, searches
):
    dataset = make_dataset(*random_log(seed, n_items=40), n_items=40, history_order=order)
    rec, search, clicks = lengths
    view = View(
        task=task, rec_length=rec, search_length=search, clicks=clicks, searches=searches
    )  # fmt: skip
    columns = take_columns(dataset.timeline, view)
    open_source = partial(training_source, dataset, view, 8, 3, 2)
    try:
        host = open_source()
    except InputError:  # a log without a usable row
        return
    device = open_source(resident=narrow(columns, np.asarray))
    assert host.resident is None
    assert len(host) == len(device)
    with jax.disable_jit():  # every example has shapes of its own
        resident = Resident(view, narrow(columns))
        for step in range(len(host)):
            whole, short = host[step], device[step]
            assert set(short) - set(whole) == set(ENDS)
            assert all(array.dtype != np.int64 or name == "row" for name, array in short.items())
            found = resident.expand(short)
            assert found.keys() == whole.keys() - set(HOST_FIELDS) | {"row"}
            for name, array in found.items():
                np.testing.assert_array_equal(array, whole[name], err_msg=name)
                assert array.dtype == whole[name].dtype, name


def test_a_timeline_without_searches_has_pads_only(rec_events, search_events, make_dataset):
    dataset = make_dataset(
        rec_events([(1, 10, 0, 3, 1), (1, 20, 0, 4, 1)]), search_events([]), n_items=40
    )
    view = View(rec_length=2, search_length=2, negatives=1)
    columns = take_columns(dataset.timeline, view)
    source = training_source(dataset, view, 1, 0, 1, resident=narrow(columns, np.asarray))
    batch = Resident(view, narrow(columns)).expand(source[0])
    np.testing.assert_array_equal(batch["rec_item"], [[3, 0]])
    assert not batch["search_mask"].any()
    assert not batch["search_click"].any()


@pytest.mark.parametrize("task", ["rec", "both"])
def test_a_resident_batch_is_small(random_log, make_dataset, task):
    dataset = make_dataset(*random_log(7, n_items=40), n_items=40)
    view = View(task=task, rec_length=30, search_length=30)
    open_source = partial(training_source, dataset, view, 8, 3, 1)
    whole, short = open_source(), open_source(resident=take_columns(dataset.timeline, view))
    sizes = [
        sum(array.nbytes for name, array in source[0].items() if name not in HOST_FIELDS)
        for source in (whole, short)
    ]
    assert sizes[1] < sizes[0] / 20
