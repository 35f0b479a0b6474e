"""Batches: their content against a plain loop, their order against processes and restarts."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.batches import evaluation_source, iterate, training_source
from common.data.click_times import order_clicks
from common.data.view import HOST_FIELDS, View
from common.errors import InputError

PROPERTY = settings(derandomize=True, deadline=None, max_examples=50)

FIELDS = {  # name -> (dtype, shape after [B]) for M = 4, N = 3, P = 2, n = 5
    "task": (np.uint8, ()),
    "valid": (np.uint8, ()),
    "row": (np.int64, ()),
    "user": (np.int32, ()),
    "target": (np.int32, ()),
    "query": (np.int32, ()),
    "negatives": (np.int32, (5,)),
    "rec_item": (np.int32, (4,)),
    "rec_age_ms": (np.int64, (4,)),
    "rec_mask": (np.uint8, (4,)),
    "search_query": (np.int32, (3,)),
    "search_click": (np.int32, (3, 2)),
    "search_row": (np.int64, (3,)),
    "search_age_ms": (np.int64, (3,)),
    "search_mask": (np.uint8, (3,)),
    "order": (np.int32, (7,)),
}
SMALL = {"rec_length": 4, "search_length": 3, "clicks": 2, "negatives": 5}


def _assert_equal(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def _source(random_log, make_dataset, batch_size=8, **changes):
    dataset = make_dataset(*random_log(7, n_items=40, n_events=97))
    settings = {"seed": 5, "epochs": 3} | changes
    return training_source(dataset, View(task="rec", **SMALL), batch_size, **settings)


def _pad(values, length, pad=0):
    return list(values) + [pad] * (length - len(values))


def _naive_example(dataset, view, order, row):
    """The history fields of one target, event by event."""
    rec, search, events = dataset.rec, dataset.search, dataset.events(view.task)

    def key(table, r):
        return (table.ts[r], table.seq[r]) if order == "source" else (table.ts[r],)

    def before(table, r):
        return table.user[r] == events.user[row] and key(table, r) < key(events, row)

    recs = [r for r in range(len(rec.user)) if rec.label[r] == 1 and before(rec, r)]
    searches = [s for s in range(len(search.user)) if before(search, s)]
    recs = recs[max(len(recs) - view.rec_length, 0) :]
    searches = searches[max(len(searches) - view.search_length, 0) :]
    merged = sorted(
        [(*key(rec, r), 0, i) for i, r in enumerate(recs)]
        + [(*key(search, s), 1, i) for i, s in enumerate(searches)]
    )
    newest_first = [entry[-2:] for entry in reversed(merged)]
    now, m, n = events.ts[row], view.rec_length, view.search_length

    seqs = order_clicks(rec, search)

    def clicked(s):
        """The first clicks of search s, as far as they came before the target."""
        first = range(search.click_off[s], search.click_off[s + 1])[: view.clicks]
        times = {x: (search.click_ts[x], seqs[x])[: 2 if order == "source" else 1] for x in first}
        return [search.click_item[x] for x in first if times[x] < key(events, row)]

    clicks = [clicked(s) for s in searches]
    rank = [newest_first.index((0, i)) for i in range(len(recs))]
    search_rank = [newest_first.index((1, i)) for i in range(len(searches))]
    return {
        "user": events.user[row],
        "target": events.target[row],
        "query": search.query[row] if view.task == "search" else 0,
        "rec_item": _pad(rec.item[recs], m),
        "rec_age_ms": _pad(now - rec.ts[recs], m),
        "rec_mask": _pad([1] * len(recs), m),
        "search_query": _pad(search.query[searches], n),
        "search_click": np.array(
            _pad([_pad(c, view.clicks) for c in clicks], n, [0] * view.clicks), np.int32
        ).reshape(n, view.clicks),
        "search_row": _pad(searches, n),
        "search_age_ms": _pad(now - search.ts[searches], n),
        "search_mask": _pad([1] * len(searches), n),
        "order": _pad(rank, m, m + n) + _pad(search_rank, n, m + n),
    }


@PROPERTY
@given(
    seed=st.integers(0, 10_000),
    order=st.sampled_from(["time", "source"]),
    task=st.sampled_from(["rec", "search"]),
    lengths=st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)),
)
def test_gather_equals_a_plain_loop(random_log, make_dataset, seed, order, task, lengths):
    dataset = make_dataset(*random_log(seed), history_order=order)
    rows = dataset.rows[task, "train"]
    if not len(rows):
        return
    view = View(task=task, rec_length=lengths[0], search_length=lengths[1], clicks=lengths[2])
    batch = evaluation_source(dataset, view, rows, len(rows))[0]
    np.testing.assert_array_equal(batch["row"], rows)
    for i, row in enumerate(rows):
        for name, expected in _naive_example(dataset, view, order, row).items():
            np.testing.assert_array_equal(batch[name][i], expected, err_msg=f"{name}, row {row}")


def test_order_is_the_merged_timeline(rec_events, search_events, make_dataset):
    rec = rec_events([(1, 10, 0, 5, 1), (1, 20, 0, 6, 1), (1, 40, 0, 7, 1)])
    search = search_events([(1, 20, 1, 3, (6, 8, 9)), (1, 30, 0, 4, ())])
    dataset = make_dataset(rec, search)
    view = View(rec_length=3, search_length=3, clicks=2)
    batch = evaluation_source(dataset, view, np.array([2]), 1)[0]
    # Oldest to newest: rec@10, rec@20, search@20 (rec first in a tie), search@30.
    assert batch["order"].tolist() == [[3, 2, 6, 1, 0, 6]]
    assert batch["rec_item"].tolist() == [[5, 6, 0]]
    assert batch["rec_age_ms"].tolist() == [[30, 20, 0]]
    assert batch["search_query"].tolist() == [[3, 4, 0]]
    assert batch["search_click"].tolist() == [[[6, 8], [0, 0], [0, 0]]]
    assert batch["search_mask"].tolist() == [[1, 1, 0]]  # a search without a click is an event
    assert batch["negatives"].shape == (1, 0)


@pytest.mark.parametrize("task", ["rec", "search"])
def test_fields_have_their_types_and_shapes(random_log, make_dataset, task):
    dataset = make_dataset(*random_log(1, n_items=40))
    source = training_source(dataset, View(task=task, **SMALL), 8, seed=0, epochs=1)
    batch = source[0]
    shapes = {name: (array.dtype, array.shape[1:]) for name, array in batch.items()}
    assert shapes == FIELDS
    assert {len(array) for array in batch.values()} == {8}
    assert set(HOST_FIELDS) <= batch.keys()
    assert set(batch["task"]) == {["rec", "search"].index(task)}


def test_an_epoch_has_every_usable_row_once(random_log, make_dataset):
    source = _source(random_log, make_dataset)
    assert source.n_rows % 8  # so the last batch of an epoch is partial
    assert source.steps_per_epoch == -(-source.n_rows // 8)
    assert len(source) == 3 * source.steps_per_epoch
    epochs = []
    for epoch in range(3):
        steps = range(epoch * source.steps_per_epoch, (epoch + 1) * source.steps_per_epoch)
        batches = [source[step] for step in steps]
        rows = np.concatenate([batch["row"][batch["valid"] == 1] for batch in batches])
        epochs.append(rows.tolist())
        assert all(batch["valid"].all() for batch in batches[:-1])
        assert len(rows) == source.n_rows == len(set(rows.tolist()))
        assert batches[-1]["valid"].sum() == source.n_rows % 8
        # Pads repeat the batch's first row: real history, no weight.
        pads = batches[-1]["row"][batches[-1]["valid"] == 0]
        assert set(pads.tolist()) == {batches[-1]["row"][0]}
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]


def test_targets_have_the_history_that_the_view_asks_for(random_log, make_dataset):
    dataset = make_dataset(*random_log(7))
    sizes = dataset.timeline.history_size("rec", dataset.rows["rec", "train"])
    for needed in (0, 1, 6):
        view = View(min_history=needed)
        source = training_source(dataset, view, 4, seed=0, epochs=1)
        assert source.n_rows == (sizes >= needed).sum()


@pytest.mark.parametrize("processes", [2, 4])
def test_global_batches_do_not_depend_on_processes(random_log, make_dataset, processes):
    whole = _source(random_log, make_dataset)
    parts = [
        _source(random_log, make_dataset, process=p, processes=processes) for p in range(processes)
    ]
    for step in range(len(whole)):
        shares = [part[step] for part in parts]
        joined = {name: np.concatenate([s[name] for s in shares]) for name in shares[0]}
        _assert_equal(joined, whole[step])
    assert {repr(part) for part in parts} == {repr(whole)}


def test_iteration_equals_indexing_from_any_step(random_log, make_dataset):
    source = _source(random_log, make_dataset)
    expected = [source[step] for step in range(len(source))]
    for start in (0, 1, source.steps_per_epoch - 1, source.steps_per_epoch, len(source) - 1):
        # A fresh source: nothing is carried over from the batches before.
        batches = list(iterate(_source(random_log, make_dataset), start))
        assert len(batches) == len(source) - start
        for batch, known in zip(batches, expected[start:], strict=True):
            _assert_equal(batch, known)
    assert not list(iterate(source, len(source)))


def test_steps_can_be_read_in_any_order(random_log, make_dataset):
    source = _source(random_log, make_dataset)
    late = source[len(source) - 1]
    _assert_equal(source[0], _source(random_log, make_dataset)[0])
    _assert_equal(source[len(source) - 1], late)
    _assert_equal(source[-1], late)
    with pytest.raises(IndexError):
        source[len(source)]


def test_position_names_epoch_and_batch(random_log, make_dataset):
    source = _source(random_log, make_dataset)
    per_epoch = source.steps_per_epoch
    assert source.position(0) == {"epoch": 0, "next_batch": 0}
    assert source.position(per_epoch - 1) == {"epoch": 0, "next_batch": per_epoch - 1}
    assert source.position(2 * per_epoch + 1) == {"epoch": 2, "next_batch": 1}


def test_negatives_change_with_the_epoch_and_the_seed(random_log, make_dataset):
    source, other = _source(random_log, make_dataset), _source(random_log, make_dataset, seed=6)

    def lists(src, epoch):
        steps = range(epoch * src.steps_per_epoch, (epoch + 1) * src.steps_per_epoch)
        return {
            int(row): tuple(negatives.tolist())
            for batch in map(src.__getitem__, steps)
            for row, negatives in zip(batch["row"], batch["negatives"], strict=True)
        }

    assert lists(source, 0).keys() == lists(source, 1).keys() == lists(other, 0).keys()
    assert lists(source, 0) != lists(source, 1)
    assert lists(source, 0) != lists(other, 0)


def test_evaluation_keeps_rows_and_lists_in_order(random_log, make_dataset):
    dataset = make_dataset(*random_log(2))
    rows = dataset.rows["search", "train"][:7]
    negatives = np.arange(21, dtype=np.int32).reshape(7, 3)
    view = View(task="search", **SMALL)
    source = evaluation_source(dataset, view, rows, 4, negatives)
    first, last = list(iterate(source))
    assert len(source) == source.steps_per_epoch == 2
    np.testing.assert_array_equal(np.concatenate([first["row"], last["row"][:3]]), rows)
    np.testing.assert_array_equal(
        np.concatenate([first["negatives"], last["negatives"][:3]]), negatives
    )
    assert last["valid"].tolist() == [1, 1, 1, 0]
    np.testing.assert_array_equal(first["query"], dataset.search.query[rows[:4]])


def test_padding_does_not_change_a_mean(random_log, make_dataset):
    dataset = make_dataset(*random_log(2))
    rows = dataset.rows["rec", "train"][:7]
    means = []
    for batch_size in (7, 4):
        batches = list(evaluation_source(dataset, View(), rows, batch_size))
        total = sum((batch["target"] * batch["valid"].astype(int)).sum() for batch in batches)
        means.append(total / sum(int(batch["valid"].sum()) for batch in batches))
    assert means[0] == means[1] == dataset.rec.target[rows].mean()


def test_repr_is_the_same_in_another_process(random_log, make_dataset):
    assert " 0x" not in repr(_source(random_log, make_dataset))
    assert repr(_source(random_log, make_dataset)) == repr(_source(random_log, make_dataset))


def test_the_source_itself_needs_no_jax():
    code = "import sys, common.data.batches; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_bad_requests_are_refused(random_log, make_dataset):
    with pytest.raises(InputError, match=r"batch_size 8: does not divide by 3 processes"):
        _source(random_log, make_dataset, process=0, processes=3)
    dataset = make_dataset(*random_log(7))
    with pytest.raises(InputError, match=r"rec_train: no row with a history of at least 999"):
        training_source(dataset, View(min_history=999), 8, seed=0, epochs=1)
    with pytest.raises(InputError, match="0 rows in batches of 4"):
        evaluation_source(dataset, View(), np.zeros(0, np.int64), 4)
    rows = dataset.rows["rec", "train"][:1]
    with pytest.raises(InputError, match="2 lists for 1 rows"):
        evaluation_source(dataset, View(), rows, 4, np.zeros((2, 3), np.int32))
