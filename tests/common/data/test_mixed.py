"""One stream over both tasks: every row once an epoch, and each as its own task has it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import evaluation_source, iterate, training_source
from common.data.view import View
from common.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=25)
VIEW = View(task="both", rec_length=4, search_length=3, clicks=2, negatives=3)
TASKS = ("rec", "search")


def _open(random_log, make_dataset, seed=7, batch_size=8, view=VIEW, **changes):
    dataset = make_dataset(*random_log(seed, n_items=40, n_events=97), n_items=40)
    options = {"seed": 5, "epochs": 3} | changes
    return training_source(dataset, view, batch_size, **options)


def _rows_of(source, epoch):
    """(task, row) -> every field of that row, in one epoch; pads left out."""
    found, keys = {}, []
    for step in range(epoch * source.steps_per_epoch, (epoch + 1) * source.steps_per_epoch):
        batch = source[step]
        for i in np.flatnonzero(batch["valid"]):
            key = (TASKS[batch["task"][i]], int(batch["row"][i]))
            keys.append(key)
            found[key] = {name: array[i] for name, array in batch.items()}
    assert len(keys) == len(found), "a row came twice"
    return found, keys


@PROPERTY
@given(seed=st.integers(0, 10_000), batch_size=st.integers(1, 40), epoch=st.integers(0, 2))
def test_every_row_of_both_tasks_once_and_as_its_own_task_has_it(
    random_log, make_dataset, seed, batch_size, epoch
):
    try:
        alone = {
            task: _open(random_log, make_dataset, seed, batch_size, replace(VIEW, task=task))
            for task in TASKS
        }
    except InputError:  # a log without a usable row of one task
        return
    mixed = _open(random_log, make_dataset, seed, batch_size)
    found, _ = _rows_of(mixed, epoch)
    expected = {}
    for source in alone.values():
        expected |= _rows_of(source, epoch)[0]
    assert found.keys() == expected.keys()
    assert len(found) == mixed.n_rows == sum(source.n_rows for source in alone.values())
    for key, fields in expected.items():
        assert found[key].keys() == fields.keys()
        for name, value in fields.items():
            np.testing.assert_array_equal(found[key][name], value, err_msg=f"{key}, {name}")


def test_the_tasks_are_shuffled_together_anew_each_epoch(random_log, make_dataset):
    source = _open(random_log, make_dataset)
    orders = [_rows_of(source, epoch)[1] for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2]
    tasks = [task for task, _ in orders[0]]
    assert tasks != sorted(tasks)
    full = [source[step]["task"] for step in range(source.steps_per_epoch - 1)]
    assert any(0 < batch.sum() < len(batch) for batch in full)
    batch = source[0]
    np.testing.assert_array_equal(batch["query"] > 0, batch["task"] == 1)


def test_the_last_batch_is_padded_with_its_first_row(random_log, make_dataset):
    source = _open(random_log, make_dataset)
    last = source[source.steps_per_epoch - 1]
    pads = np.flatnonzero(last["valid"] == 0)
    assert len(pads) == source.steps_per_epoch * 8 - source.n_rows > 0
    for name, array in last.items():
        if name != "valid":
            for pad in pads:
                np.testing.assert_array_equal(array[pad], array[0], err_msg=name)


@pytest.mark.parametrize("processes", [2, 4])
def test_slices_of_the_processes_make_the_global_batch(random_log, make_dataset, processes):
    whole = _open(random_log, make_dataset)
    parts = [
        _open(random_log, make_dataset, process=p, processes=processes) for p in range(processes)
    ]
    for step in range(len(whole)):
        shares, batch = [part[step] for part in parts], whole[step]
        for name, array in batch.items():
            joined = np.concatenate([share[name] for share in shares])
            np.testing.assert_array_equal(joined, array, err_msg=name)
            assert joined.dtype == array.dtype
    assert {repr(part) for part in parts} == {repr(whole)}
    assert " 0x" not in repr(whole)


def test_a_batch_is_a_function_of_its_step(random_log, make_dataset):
    source, start = _open(random_log, make_dataset), 5
    late = source[len(source) - 1]
    for batch, step in zip(
        iterate(_open(random_log, make_dataset), start), range(start, len(source)), strict=True
    ):
        for name, array in source[step].items():
            np.testing.assert_array_equal(batch[name], array, err_msg=name)
    np.testing.assert_array_equal(source[-1]["row"], late["row"])
    per_epoch = source.steps_per_epoch
    assert source.position(2 * per_epoch + 1) == {"epoch": 2, "next_batch": 1}
    with pytest.raises(IndexError):
        source[len(source)]


def test_bad_requests_are_refused(random_log, make_dataset, rec_events, search_events):
    with pytest.raises(InputError, match="batch_size 8: does not divide by 3 processes"):
        _open(random_log, make_dataset, processes=3)
    rec_only = make_dataset(rec_events([(1, t, 0, t, 1) for t in (1, 2, 3)]), search_events([]))
    with pytest.raises(InputError, match="search_train: no row with a history"):
        training_source(rec_only, VIEW, 8, 0, 1)
    with pytest.raises(InputError, match="view of task 'both': use one of rec, search"):
        evaluation_source(rec_only, VIEW, np.array([1]), 4)
