"""T5's stacked layers: one after the other, small to compile, old checkpoints refused."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import InputError
from common.runs.methods import find_method
from common.training.checkpoints import Checkpoints
from common.training.initial import is_key, plan_init
from common.training.mesh import make_mesh
from common.training.restore import restore_newest
from common.training.sharding import place_shapes
from common.training.state import Progress, TrainState
from gensr_jax.t5_config import SIZES
from gensr_jax.t5_layers import RMSNorm, relative_bias, relative_buckets
from gensr_jax.t5_stack import EncoderLayer, Stack

LAYERS = 3  # more than are compiled one by one
CONFIG = replace(SIZES["mini"], width=16, heads=2, head_width=4, ff_width=8, encoder_layers=LAYERS)
MASK = np.arange(6)[None] < np.array([6, 4])[:, None]


@pytest.fixture(scope="module")
def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 6, 16)), jnp.float32)


@pytest.fixture(scope="module")
def params(x):
    stack = Stack(CONFIG, decoder=False)
    return jax.jit(lambda key: stack.init(key, x, True, MASK)["params"])(jax.random.key(0))


def test_the_layers_run_one_after_the_other(params, x):
    bias = relative_bias(params["relative_bias"], relative_buckets(6, 6, True, 32, 128))
    expected = x
    for number in range(LAYERS):
        own = jax.tree.map(lambda leaf, number=number: leaf[number], params["layers"])
        expected = EncoderLayer(CONFIG).apply({"params": own}, expected, MASK, bias, True)
    expected = RMSNorm(16).apply({"params": params["final_norm"]}, expected)
    found = Stack(CONFIG, decoder=False).apply({"params": params}, x, True, MASK)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_every_layer_has_numbers_and_dropout_of_its_own(params, x):
    for name in ("q", "o"):
        assert len({np.asarray(q).tobytes() for q in params["layers"]["attention"][name]}) == LAYERS
    run = Stack(CONFIG, decoder=False).apply
    jaxpr = jax.make_jaxpr(
        lambda key: run({"params": params}, x, False, MASK, rngs={"dropout": key})
    )(jax.random.key(0))
    (loop,) = (eqn for eqn in jaxpr.jaxpr.eqns if eqn.primitive.name == "scan")
    assert [var.aval.shape for var in loop.invars if is_key(var)] == [(LAYERS,)]


def test_initial_parameters_of_base_are_a_small_program():
    workload = find_method("gensr").workload()
    work = workload.open(replace(workload.sizes, size="base"))
    make, arguments = plan_init(work.task.init, jax.random.key(0), dict(work.loads["score"].batch))
    lines = jax.jit(make).lower(*arguments).as_text().splitlines()
    assert sum(" = " in line for line in lines) <= 800


def test_a_checkpoint_of_layers_one_by_one_is_refused_with_their_names(drawn, tmp_path):
    now = {"model": drawn().params}
    layers = now["model"]["t5"]["encoder"]["layers"]
    encoder = {**now["model"]["t5"]["encoder"], "layers_0": jax.tree.map(lambda a: a[0], layers)}
    del encoder["layers"]
    t5 = {**now["model"]["t5"], "encoder": encoder}
    before = {"model": {**now["model"], "t5": t5}}
    state, progress = TrainState(jnp.int32(1), before, ()), Progress(stage_name="tune", step=1)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, progress, {})
    shapes = place_shapes(TrainState(jnp.int32(0), now, ()), make_mesh(jax.devices()[:1]), {})
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError) as error:
        restore_newest(checkpoints, lambda progress: shapes, {})
    first, head, *table = str(error.value).splitlines()
    assert "18 of its arrays do not fit this model; use the config it was made with" in first
    assert head.split() == ["name", "saved", "expected"]
    rows = {line.split()[0]: line.split()[1:] for line in table}
    shape = ["float32", "[1,", "16,", "16]"]
    assert rows["model/t5/encoder/layers/attention/q"] == ["-", *shape]
    assert rows["model/t5/encoder/layers_0/attention/q"] == ["float32", "[16,", "16]", "-"]
