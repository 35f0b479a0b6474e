import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.training.mesh import make_mesh, put_batch
from common.training.optimizers import make_updater
from common.training.state import step_key
from common.training.step import describe_state, init_params, init_state, make_step, place_key


@pytest.fixture
def ready(tiny):
    """(stage, mesh, state, constants, batch, key, step) of the tiny task."""
    mesh = make_mesh(jax.devices()[:1])
    task = tiny.make_task()
    stage = task.stages[0]
    batch = put_batch(mesh, tiny.TinySource(stage)[5])  # the padded one
    params, constants = init_params(task, place_key(3, "init", mesh), batch, mesh)
    updater = make_updater(stage, params, 24)
    state = init_state(params, updater, mesh)
    key = place_key(3, "stage/fit", mesh)
    return stage, mesh, state, constants, batch, key, make_step(stage, updater, mesh, state)


def test_metrics_of_a_step_against_plain_gradients(ready):
    stage, _, state, constants, batch, key, step = ready
    before = jax.tree.map(np.asarray, state.params)
    (loss, own), grads = jax.value_and_grad(stage.loss, has_aux=True)(
        state.params, constants, batch, step_key(key, 0)
    )

    def norm(tree):
        return np.sqrt(sum(float(np.sum(np.square(leaf))) for leaf in jax.tree.leaves(tree)))

    expected_grad = norm(grads)
    after, metrics = step(state, constants, batch, key, jnp.float32(1.0))
    moved = jax.tree.map(lambda a, b: np.asarray(a) - b, after.params, before)
    assert int(after.step) == 1
    np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["error"], own["error"], rtol=1e-5)
    np.testing.assert_allclose(metrics["grad_norm"], expected_grad, rtol=1e-5)
    np.testing.assert_allclose(metrics["update_norm"], norm(moved), rtol=1e-4)
    np.testing.assert_allclose(metrics["param_norm"], norm(after.params), rtol=1e-5)
    np.testing.assert_allclose(metrics["learning_rate"], 0.05 / 3, rtol=1e-5)
    assert float(metrics["examples"]) == 5  # 45 rows: 5 x 8 + 5


def test_key_depends_on_the_step_and_is_not_carried(ready):
    _, _, state, constants, batch, key, step = ready
    still = jnp.float32(0.0)
    _, first = step(jax.tree.map(jnp.copy, state), constants, batch, key, still)
    _, again = step(jax.tree.map(jnp.copy, state), constants, batch, key, still)
    later = jax.tree.map(jnp.copy, state)._replace(step=jnp.int32(1))
    _, second = step(later, constants, batch, key, still)
    assert float(first["loss"]) == float(again["loss"])
    assert float(first["loss"]) != float(second["loss"])


def test_a_loss_can_ask_for_the_mesh(ready):
    """The fused softmax does: its devices share the rows."""
    stage, mesh, state, constants, batch, key, _ = ready
    seen = []

    def loss(*inputs):
        seen.append(dict(jax.sharding.get_abstract_mesh().shape))
        return stage.loss(*inputs)

    step = make_step(
        stage._replace(loss=loss), make_updater(stage, state.params, 24), mesh, state, parts=2
    )
    batch = {name: array[:6] for name, array in batch.items()}
    step(state, constants, batch, key, jnp.float32(1.0))
    assert seen
    assert all(shape == {"data": 1, "model": 1} for shape in seen)


def test_state_is_donated_and_steps_compile_once(ready):
    stage, mesh, state, constants, batch, key, _ = ready
    traced = chex.assert_max_traces(stage.loss, n=1)
    updater = make_updater(stage, state.params, 24)
    step = make_step(stage._replace(loss=traced), updater, mesh, state)
    old = state.params["head"]["kernel"]
    state, _ = step(state, constants, batch, key, jnp.float32(1.0))
    assert old.is_deleted()
    for scale in (1.0, 0.1):
        state, _ = step(state, constants, batch, key, jnp.float32(scale))


def test_description_matches_the_state(ready, tiny):
    stage, mesh, state, *_ = ready
    shapes = describe_state(state.params, make_updater(stage, state.params, 24), mesh)
    assert jax.tree.structure(shapes) == jax.tree.structure(state)
    for shape, leaf in zip(jax.tree.leaves(shapes), jax.tree.leaves(state), strict=True):
        assert (shape.shape, shape.dtype, shape.sharding) == (leaf.shape, leaf.dtype, leaf.sharding)


def test_a_task_may_not_take_the_trainers_metric_names(ready, tiny):
    _, mesh, state, constants, batch, key, _ = ready

    def loss(params, constants, batch, key):
        value = tiny.loss(params, constants, batch, key)[0]
        return value, {"grad_norm": value}

    stage = tiny.make_stage(loss=loss)
    step = make_step(stage, make_updater(stage, state.params, 24), mesh, state)
    with pytest.raises(ValueError, match=r"\['grad_norm'\] belong to the trainer"):
        step(state, constants, batch, key, jnp.float32(1.0))
