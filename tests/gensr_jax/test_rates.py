"""Learning rates and weight decay of the stage `tune`, leaf by leaf of the whole model."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.view import View
from common.training.optimizers import make_updater
from common.training.task import Stage
from gensr_jax.settings import LossSettings, Train
from gensr_jax.task import Collaborative, Texts, make_task

STEPS = 50
# Names of leaves that decay: what multiplies. Tables of vectors, gains, norms and biases do not.
DECAYED = {
    *("kernel", "query", "key", "value", "out", "form", "answers", "head"),  # new modules
    *("q", "k", "v", "o", "wi_0", "wi_1", "wo"),  # T5
}


def open_stage(drawn, decays_tables: bool = False) -> Stage:
    train = Train(
        batch_size=4,
        epochs=1,
        schedule="cosine",
        warmup_steps=5,
        weight_decay=0.5,
        word_rate_share=3.0,
        decay_tables=decays_tables,
    )
    case = drawn()
    texts = Texts(
        *(np.asarray(case.constants[name]) for name in Texts._fields if name != "rec_length"),
        rec_length=10,
    )
    task = make_task(
        case.module.settings,
        LossSettings(),
        train,
        View(task="rec", rec_length=4, search_length=4, clicks=1, negatives=2),
        texts,
        Collaborative(given=np.asarray(case.constants["cf_table"])),
    )
    return task.stages[-1]


@pytest.fixture
def stage(drawn) -> Stage:
    return open_stage(drawn)


@pytest.fixture
def params(drawn):
    """Every leaf 2, a CF table beside that the stage does not train."""
    model = jax.tree.map(lambda leaf: jnp.full_like(leaf, 2.0), drawn(cf_trainable=True).params)
    return {"model": model, "word_rms": jnp.float32(1.0), "cf": {"item": jnp.ones((10, 8))}}


def direct(stage, params, size):
    """The first direction of every leaf, by name, for gradients of one size."""
    updater = make_updater(stage, params, STEPS)
    grads = jax.tree.map(lambda leaf: jnp.full_like(leaf, size), params)

    @jax.jit
    def run(params, grads):
        return updater.directions.update(grads, updater.directions.init(params), params)[0]

    found = run(params, grads)
    leaves = jax.tree_util.tree_leaves_with_path(found)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): np.unique(np.asarray(leaf))
        for path, leaf in leaves
    }


def test_the_rate_is_zero_at_the_last_step(stage, params):
    rate = make_updater(stage, params, STEPS).rate
    assert float(rate(STEPS - 1, 1.0)) == pytest.approx(0, abs=1e-9)
    assert float(rate(STEPS - 2, 1.0)) > 0
    assert float(rate(5, 1.0)) == pytest.approx(1e-3)


def share_of(name):
    """As the stage's settings say it: a tenth for T5, three tenths for its word embeddings."""
    if name == "model/t5/shared":
        return 0.3
    return 0.1 if name.startswith("model/t5/") else 1.0


def test_new_modules_move_ten_times_as_far_as_t5(stage, params):
    """Without decay Adam's first direction is the sign of the gradient."""
    plain = stage._replace(optimizer=replace(stage.optimizer, weight_decay=0.0))
    for name, values in direct(plain, params, 0.5).items():
        expected = share_of(name) if name.startswith("model/") else 0.0
        np.testing.assert_allclose(values, expected, rtol=1e-5, err_msg=name)


def test_decay_is_for_matrices_alone(stage, params):
    """Without a gradient decay alone moves: half of the value 2, a tenth of it in T5."""
    found = direct(stage, params, 0.0)
    kinds = {name.split("/")[-1] for name in found if name.startswith("model/")}
    assert {"shared", "relative_bias", "recency", "place", "null", "gain"} <= kinds
    assert {"scale", "bias", "log_temperature", "cf_shift"} <= kinds
    for name, values in found.items():
        decays = name.startswith("model/") and name.split("/")[-1] in DECAYED
        np.testing.assert_allclose(
            values, share_of(name) if decays else 0.0, rtol=1e-6, err_msg=name
        )


def test_the_release_decays_tables_too(drawn, params):
    """Every array of two or more axes of the model, its word embeddings too; but no gains."""
    sizes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.ndim
        for path, leaf in jax.tree_util.tree_leaves_with_path(params)
    }
    for name, values in direct(open_stage(drawn, decays_tables=True), params, 0.0).items():
        matrix = sizes[name] > 1 and not name.endswith("/scale")
        decays = name.startswith("model/") and matrix
        np.testing.assert_allclose(
            values, share_of(name) if decays else 0.0, rtol=1e-6, err_msg=name
        )
