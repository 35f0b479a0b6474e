"""Packed sequences: which targets, with which histories, in which order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import evaluation_source, iterate, training_source
from common.data.sequences import cut_segments, sequence_source
from common.data.view import HOST_FIELDS, View
from common.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=40)


def _view(length=4, **changes):
    return View(rec_length=length, search_length=0, clicks=1, negatives=2, packed=True, **changes)


def _open(dataset, view, batch_size=4, **changes):
    arguments = {"seed": 5, "epochs": 2} | changes
    return sequence_source(dataset, view, batch_size, **arguments)


@pytest.fixture
def dataset(random_log, make_dataset):
    return make_dataset(*random_log(7, n_items=40, n_events=97))


def _assert_equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def _read(batch, length):
    """{row: what its target may read} of the valid targets of a batch."""
    histories = {}
    for place in np.flatnonzero(batch["valid"]):
        history = []
        if batch["reader"][place]:
            line, slot = divmod(int(batch["reader"][place]) - 1, length)
            own = batch["segment"][line] == batch["segment"][line, slot]
            assert batch["segment"][line, slot] > 0
            history = batch["rec_item"][line][own & (np.arange(length) <= slot)].tolist()
        assert int(batch["row"][place]) not in histories
        histories[int(batch["row"][place])] = history
    return histories


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    order=st.sampled_from(["time", "source"]),
    length=st.integers(1, 9),
    batch_size=st.integers(1, 6),
    min_history=st.integers(0, 3),
)
def test_every_target_reads_what_evaluation_reads(
    random_log, make_dataset, seed, order, length, batch_size, min_history
):
    dataset = make_dataset(*random_log(seed), history_order=order)
    view = _view(length, min_history=min_history)
    source = _open(dataset, view, batch_size)
    for epoch in range(2):
        read, shapes = {}, set()
        for number in range(source.steps_per_epoch):
            batch = source[epoch * source.steps_per_epoch + number]
            shapes.add(tuple((name, array.shape) for name, array in batch.items()))
            here = _read(batch, length)
            assert not here.keys() & read.keys()
            read |= here
        assert len(shapes) == 1
        rows = np.array(sorted(read))
        usual = training_source(dataset, view, 8, 0, 1)
        np.testing.assert_array_equal(rows, usual._rows)
        expected = evaluation_source(dataset, view, rows, len(rows))[0]
        for place, row in enumerate(rows):
            real = expected["rec_mask"][place] == 1
            assert read[row] == expected["rec_item"][place][real].tolist()


def test_segments_by_hand(rec_events, search_events, make_dataset):
    """Events at 1, 2, 2, 3, 4, 4 and a window of three: a run for the short histories, then one
    for the two targets at 4, whose history is longer than the window."""
    times = [(1, 0), (2, 0), (2, 1), (3, 0), (4, 0), (4, 1)]
    rec = rec_events([(1, ts, seq, item, 1) for item, (ts, seq) in enumerate(times, 1)])
    dataset = make_dataset(rec, search_events([]))
    cut = cut_segments(dataset.timeline, _view(3), np.arange(1, 6))
    assert cut.begin.tolist() == [0, 1]
    assert cut.size.tolist() == [3, 3]
    assert cut.first.tolist() == [0, 3]
    assert cut.targets.tolist() == [3, 2]
    assert cut.read.tolist() == [1, 1, 3, 3, 3]


def test_a_run_with_many_targets_is_cut(rec_events, search_events, make_dataset):
    events = [(1, 10, seq, seq + 1, 1) for seq in range(9)]
    dataset = make_dataset(rec_events(events), search_events([]))
    source = _open(dataset, _view(2, min_history=0), batch_size=2, epochs=1)
    batches = [source[step] for step in range(len(source))]
    assert sum(int(batch["valid"].sum()) for batch in batches) == 9
    assert not any(batch["reader"].any() for batch in batches)  # nothing came before any of them


def test_negatives_are_those_of_the_unpacked_source(dataset):
    source = _open(dataset, _view())
    usual = training_source(dataset, _view(), 8, seed=5, epochs=2)

    def lists(src, epoch):
        steps = range(epoch * src.steps_per_epoch, (epoch + 1) * src.steps_per_epoch)
        return {
            int(row): tuple(negatives.tolist())
            for batch in map(src.__getitem__, steps)
            for row, negatives in zip(batch["row"], batch["negatives"], strict=True)
        }

    assert lists(source, 1) == lists(usual, 1) != lists(source, 0)


def test_batches_have_about_the_same_number_of_targets(random_log, make_dataset):
    dataset = make_dataset(*random_log(3, n_users=60, n_events=1500, n_times=30))
    source = _open(dataset, _view(10), batch_size=8)
    counts = [int(source[step]["valid"].sum()) for step in range(len(source))]
    budget = len(source[0]["target"])
    assert budget % 8 == 0
    assert max(counts) <= budget
    assert np.mean(counts) > 0.7 * budget


def test_an_epoch_mixes_the_rows_anew(random_log, make_dataset):
    dataset = make_dataset(*random_log(3, n_users=60, n_events=1500, n_times=30))
    source = _open(dataset, _view(10))
    per_epoch = source.steps_per_epoch
    first = [frozenset(_read(source[step], 10)) for step in range(per_epoch)]
    second = [frozenset(_read(source[per_epoch + step], 10)) for step in range(per_epoch)]
    assert frozenset().union(*first) == frozenset().union(*second)
    assert not set(first) & set(second)


def test_steps_can_be_read_from_anywhere(dataset):
    expected = [_open(dataset, _view())[step] for step in range(3)]
    source = _open(dataset, _view())
    _assert_equal(source[2], expected[2])
    _assert_equal(source[0], expected[0])
    for batch, known in zip(iterate(source, 1), expected[1:], strict=False):
        _assert_equal(batch, known)
    assert source.position(source.steps_per_epoch + 1) == {"epoch": 1, "next_batch": 1}
    assert len(source) == 2 * source.steps_per_epoch
    with pytest.raises(IndexError):
        source[len(source)]
    assert " 0x" not in repr(source)
    assert repr(source) == repr(_open(dataset, _view()))


@pytest.mark.parametrize("processes", [2, 4])
def test_global_batches_do_not_depend_on_processes(dataset, processes):
    whole = _open(dataset, _view())
    parts = [
        _open(dataset, _view(), process=process, processes=processes)
        for process in range(processes)
    ]
    for step in range(len(whole)):
        shares = [part[step] for part in parts]
        _assert_equal({k: np.concatenate([s[k] for s in shares]) for k in shares[0]}, whole[step])


def test_fields_have_their_types(dataset):
    batch = _open(dataset, _view())[0]
    assert {name: array.dtype.name for name, array in batch.items()} == {
        "rec_item": "int32",
        "segment": "int32",
        "target": "int32",
        "reader": "int32",
        "valid": "uint8",
        "row": "int64",
        "user": "int32",
        "negatives": "int32",
    }
    assert batch["rec_item"].shape == (4, 4)
    assert "row" in HOST_FIELDS


def test_bad_requests_are_refused(dataset):
    with pytest.raises(InputError, match="batch_size 4: does not divide by 3 processes"):
        _open(dataset, _view(), process=0, processes=3)
    with pytest.raises(InputError, match=r"rec_train: no row with a history of at least 999"):
        _open(dataset, _view(min_history=999))
