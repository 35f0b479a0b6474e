"""SASRec: what a state may read, training as evaluation, and that it learns and goes on."""

from __future__ import annotations

import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from baselines_jax import build
from baselines_jax.configs import base_sasrec
from baselines_jax.sasrec_model import SASRec, Sizes, packed_loss
from common.data.batches import evaluation_source
from common.data.dataset import Dataset
from common.data.events import RecEvents, make_searches
from common.data.sequences import sequence_source
from common.data.view import View
from common.errors import InputError
from common.training.loop import train
from common.training.mesh import make_mesh
from common.training.settings import TrainSettings

ITEMS, LENGTH = 30, 5
MODULE = SASRec(Sizes(n_items=ITEMS, length=LENGTH, width=8, heads=2, layers=2, dropout=0.3))
VIEW = View(rec_length=LENGTH, search_length=0, clicks=1, min_history=0, negatives=0)


def make_dataset(user, ts, seq, item, order="time", n_items=ITEMS) -> Dataset:
    """All events are positives and train rows; there are no searches."""
    columns = np.array(sorted(zip(user, ts, seq, item, strict=True)), np.int64).T
    n = columns.shape[1]
    rec = RecEvents(
        columns[0].astype(np.int32),
        columns[1],
        columns[2].astype(np.int32),
        columns[3].astype(np.int32),
        np.ones(n, np.uint8),
    )
    none, off = np.zeros(0, np.int32), np.zeros(1, np.int64)
    search = make_searches(none, none.astype(np.int64), none, none, off, none)
    nothing = np.zeros(0, np.int64)
    rows = {(task, part): nothing for task in ("rec", "search") for part in ("train", "valid")}
    return Dataset(
        path=Path("."),
        manifest={"name": "made-up", "sha256": "ab" * 32},
        split="by_hand",
        history_order=order,
        n_users=int(columns[0].max()),
        n_items=n_items,
        n_queries=1,
        n_tokens=0,
        rec=rec,
        search=search,
        rows=rows | {("rec", "train"): np.arange(n)},
        query_tokens=np.zeros((2, 1), np.int32),
        item_categories=np.zeros((n_items + 1, 4), np.int32),
        load_lists=lambda task, part: {},
    )


def random_dataset(seed: int, order: str, n: int = 120) -> Dataset:
    """Twelve users, eight times: most events are tied with another of their user."""
    rng = np.random.default_rng(seed)
    user, ts = rng.integers(1, 13, n), 1000 * rng.integers(0, 8, n)
    return make_dataset(user, ts, rng.permutation(n), rng.integers(1, ITEMS + 1, n), order)


def open_both(dataset, batch_size=3, view=VIEW):
    rows = dataset.rows["rec", "train"]
    usual = evaluation_source(dataset, view, rows, len(rows))
    return sequence_source(dataset, view, batch_size, 0, 1), usual


@pytest.fixture(scope="module")
def params():
    """Drawn at random, biases and the start vector too."""
    slots = jnp.ones((1, LENGTH), jnp.int32)
    shapes = jax.eval_shape(
        lambda key: MODULE.init(key, slots, slots, True, method=SASRec.states), jax.random.key(0)
    )["params"]
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(0, 0.5, leaf.shape), leaf.dtype), shapes
    )


@jax.jit
def run_states(params, items, segment):
    return MODULE.apply({"params": params}, items, segment, True, method=SASRec.states)


@jax.jit
def run_users(params, batch):
    return MODULE.apply({"params": params}, batch, method=SASRec.users)


@jax.jit
def run_readers(params, batch):
    return MODULE.apply({"params": params}, batch, True, method=SASRec.readers)


def on_device(batch):
    return {name: jnp.asarray(batch[name]) for name in batch if batch[name].dtype != np.int64}


@pytest.mark.parametrize("order", ["time", "source"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_pass_equals_evaluation_path(params, seed, order):
    """The state that predicts a target is the same, packed beside others and read on its own."""
    source, usual = open_both(random_dataset(seed, order))
    batch = usual[0]
    expected = dict(
        zip(batch["row"].tolist(), np.asarray(run_users(params, on_device(batch))), strict=True)
    )
    longer = timeline_lengths(usual) > LENGTH
    assert longer.any()  # some histories are longer than the window
    seen = set()
    for step in range(len(source)):
        packed = source[step]
        states = np.asarray(run_readers(params, on_device(packed)))
        for place in np.flatnonzero(packed["valid"]):
            row = int(packed["row"][place])
            np.testing.assert_allclose(states[place], expected[row], rtol=1e-4, atol=1e-5)
            seen.add(row)
    assert seen == expected.keys()


def timeline_lengths(source):
    return source._ends["rec_end"] - source._ends["rec_start"]


def test_a_state_depends_on_nothing_later_and_on_no_other_segment(params):
    items = jnp.array([[3, 7, 9, 4, 5]])
    segment = jnp.array([[1, 1, 1, 2, 2]])
    states = run_states(params, items, segment)
    later = run_states(params, items.at[0, 2].set(20), segment)
    np.testing.assert_array_equal(later[0, [0, 1, 3, 4]], states[0, [0, 1, 3, 4]])
    assert np.abs(later[0, 2] - states[0, 2]).max() > 1e-3
    earlier = run_states(params, items.at[0, 0].set(20), segment)
    assert all(np.abs(earlier[0, i] - states[0, i]).max() > 1e-4 for i in range(3))
    np.testing.assert_array_equal(earlier[0, 3:], states[0, 3:])
    alone = run_states(params, jnp.array([[4, 5, 0, 0, 0]]), jnp.array([[1, 1, 0, 0, 0]]))
    np.testing.assert_allclose(alone[0, :2], states[0, 3:], rtol=1e-5, atol=1e-6)


def test_order_matters_and_the_newest_item_counts_from_its_end(params):
    forward = run_users(params, history([3, 7, 9]))
    backward = run_users(params, history([9, 7, 3]))
    assert np.abs(forward - backward).max() > 1e-3


def history(items, left=False, length=LENGTH):
    pads = [0] * (length - len(items))
    padded = jnp.array([pads + items if left else items + pads])
    return {"rec_item": padded, "rec_mask": (padded != 0).astype(jnp.uint8)}


@pytest.mark.parametrize("items", [[3], [3, 7, 9], [1, 2, 3, 4, 5]])
def test_pads_left_or_right_and_what_is_in_them_change_nothing(params, items):
    right, left = history(items), history(items, left=True)
    expected = run_users(params, right)
    np.testing.assert_allclose(run_users(params, left), expected, rtol=1e-5, atol=1e-6)
    dirty = right | {"rec_item": jnp.where(right["rec_mask"] == 1, right["rec_item"], 8)}
    np.testing.assert_array_equal(run_users(params, dirty), expected)


def test_an_empty_history_has_the_start_vector_and_finite_gradients(params):
    batch = history([])
    np.testing.assert_array_equal(run_users(params, batch)[0], params["start"])
    gradient = jax.grad(lambda p: jnp.sum(run_users(p, batch) ** 2))(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))
    np.testing.assert_allclose(gradient["start"], 2 * params["start"], rtol=1e-6)


@pytest.mark.parametrize("recommendation", ["softmax", "sampled_softmax", "bce"])
def test_losses_ignore_padded_targets(params, recommendation):
    dataset = random_dataset(0, "time")
    view = View(rec_length=LENGTH, search_length=0, clicks=1, min_history=1, negatives=3)
    batch = on_device(open_both(dataset, 8, view)[0][0])
    assert not batch["valid"].all()
    constants = {"log_share": jnp.full(ITEMS + 1, -np.log(ITEMS))}
    key = jax.random.key(0)

    @jax.jit
    def run(batch):
        def loss(params):
            return packed_loss(MODULE, recommendation, params, constants, batch, key)[0]

        return jax.value_and_grad(loss)(params)

    loss, grads = run(batch)
    assert loss > 0
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(grads))
    pad = batch["valid"] == 0
    other = run(batch | {"target": jnp.where(pad, 11, batch["target"])})[0]
    np.testing.assert_array_equal(other, loss)


def test_fifty_sequences_are_learned_by_heart():
    """Fifty users, each with another first item: the last item follows from the others."""
    rng = np.random.default_rng(0)
    users, length, n_items = 50, 5, 60
    item = rng.integers(1, n_items + 1, (users, length))
    item[:, 0] = rng.permutation(n_items)[:users] + 1
    user = np.repeat(np.arange(1, users + 1), length)
    ts = np.tile(np.arange(length), users)
    dataset = make_dataset(user, ts, ts, item.ravel(), n_items=n_items)
    config = make_config(data__rec_length=4, train__batch_size=50, model__width=32)
    config.model.dropout = 0.0
    task = build(config, dataset)
    source, _ = open_both(dataset, 50, task.stages[0].view)
    batch = on_device(source[0])
    assert batch["valid"].sum() == users * (length - 1)
    params, constants = jax.jit(task.init)(jax.random.key(0), batch)
    optimizer = optax.adam(1e-2)

    @jax.jit
    def fit(params):
        def step(carry, key):
            params, state = carry
            grads = jax.grad(lambda p: task.stages[0].loss(p, constants, batch, key)[0])(params)
            updates, state = optimizer.update(grads, state)
            return (optax.apply_updates(params, updates), state), None

        keys = jax.random.split(jax.random.key(1), 120)
        return jax.lax.scan(step, (params, optimizer.init(params)), keys)[0][0]

    params = fit(params)
    rows = np.arange(length - 1, users * length, length)  # the last event of each user
    last = on_device(evaluation_source(dataset, task.view, rows, users)[0])
    scores = task.score_catalogue(params, constants, last, jnp.arange(1, n_items + 1))
    np.testing.assert_array_equal(scores.argmax(axis=1) + 1, item[:, -1])


def make_config(**changes):
    config = base_sasrec.get_config()
    config.data.rec_length = LENGTH
    config.model.width = 8
    config.train.batch_size = 4
    for key, value in changes.items():
        group, name = key.split("__")
        config[group][name] = value
    return config


def test_catalogue_scores_equal_candidate_scores(params):
    task = build(make_config(), random_dataset(0, "time"))
    batch = history([3, 7]) | {"target": jnp.array([4]), "negatives": jnp.array([[9, 0, 30]])}
    scores = np.asarray(task.score(params, {}, batch))
    assert scores[0, 2] == -np.inf  # a padding candidate
    catalogue = np.asarray(task.score_catalogue(params, {}, batch, jnp.arange(1, ITEMS + 1)))
    np.testing.assert_allclose(scores[0, [0, 1, 3]], catalogue[0, [3, 8, 29]], rtol=1e-5)


def test_a_run_that_was_stopped_goes_on_to_the_same_parameters(tmp_path):
    dataset = random_dataset(0, "time")
    task = build(make_config(train__epochs=3), dataset)

    def run(folder, stop_once=False):
        stops = [stop_once]

        def validate(params, constants):
            if stops[0]:
                stops[0] = False
                signal.raise_signal(signal.SIGTERM)
            return {"rec/full/NDCG@10": 0.5}

        def open_source(stage):
            return sequence_source(dataset, stage.view, stage.batch_size, 0, stage.epochs)

        mesh = make_mesh(jax.devices()[:1])
        settings = TrainSettings(show_progress=False, tensorboard=False)
        return train(task, open_source, lambda stage: validate, settings, folder, 0, mesh)

    whole = run(tmp_path / "whole")
    stopped = run(tmp_path / "parts", stop_once=True)
    assert stopped.interrupted == "SIGTERM"
    assert stopped.global_step < whole.global_step
    resumed = run(tmp_path / "parts")
    assert resumed.global_step == whole.global_step
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"model__heads": 3}, "config.model.width = 8"),
        ({"loss__recommendation": "hinge"}, "config.loss.recommendation"),
        ({"loss__recommendation": "bce", "train__negatives": 0}, "config.train.negatives"),
        ({"data__rec_length": 0}, "config.data.rec_length = 0"),
        ({"train__schedule": "steps"}, "config.train.schedule"),
    ],
)
def test_settings_that_cannot_be_are_named(change, key):
    with pytest.raises(InputError, match=key.replace(".", r"\.")):
        build(make_config(**change), random_dataset(0, "time"))


def test_searches_are_not_read():
    task = build(make_config(), random_dataset(0, "time"))
    assert (task.view.search_length, task.tasks) == (0, ("rec",))
    assert task.stages[0].view.packed
    assert not task.view.packed
