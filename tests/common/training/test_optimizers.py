import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.errors import InputError
from common.training.optimizers import make_updater, mark_trained, schedule_rate
from common.training.task import Optimizer, Stopping

PARAMS = {
    "encoder": {"kernel": jnp.full((2, 3), 2.0), "bias": jnp.full((3,), 2.0)},
    "head": {"kernel": jnp.full((3, 1), -1.0)},
}
GRADS = jax.tree.map(lambda array: jnp.full_like(array, 0.5), PARAMS)


def direct(tiny, **settings):
    """First directions of a stage for PARAMS and GRADS, and the updater's state."""
    trainable = settings.pop("trainable", None)
    stage = tiny.make_stage(optimizer=Optimizer(**settings), trainable=trainable)
    updater = make_updater(stage, PARAMS, 10)
    state = updater.directions.init(PARAMS)
    directions, _ = updater.directions.update(GRADS, state, PARAMS)
    return directions, state


def test_constant_schedule_with_warmup():
    settings = Optimizer(learning_rate=0.4, warmup_steps=4)
    rates = [float(schedule_rate(settings, 8, step)) for step in range(8)]
    expected = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_cosine_schedule_ends_at_its_final_fraction():
    settings = Optimizer(learning_rate=1.0, schedule="cosine", warmup_steps=2, final_fraction=0.2)
    rates = [float(schedule_rate(settings, 7, step)) for step in range(7)]
    # After the warm-up, shares 0, 1/4, 1/2, 3/4, 1 of half a cosine, from 1 down to 0.2.
    expected = [0.5, 1.0] + [
        0.2 + 0.8 * 0.5 * (1 + math.cos(math.pi * share / 4)) for share in (0, 1, 2, 3, 4)
    ]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


def test_no_warmup_starts_at_the_full_rate():
    assert float(schedule_rate(Optimizer(learning_rate=0.3), 5, 0)) == pytest.approx(0.3)


def test_plateau_scale_stops_at_the_floor_and_never_lifts_the_schedule(tiny):
    stage = tiny.make_stage(
        optimizer=Optimizer(learning_rate=1e-2, warmup_steps=10),
        stopping=Stopping(plateau_floor=5e-3),
    )
    rate = make_updater(stage, PARAMS, 100).rate
    assert float(rate(50, 1.0)) == pytest.approx(1e-2)
    assert float(rate(50, 0.7)) == pytest.approx(7e-3)
    assert float(rate(50, 0.1)) == pytest.approx(5e-3)
    assert float(rate(0, 0.1)) == pytest.approx(1e-3)  # the warm-up's own value, below the floor


def test_unknown_schedule_is_named(tiny):
    stage = tiny.make_stage(optimizer=Optimizer(schedule="cosin"))
    with pytest.raises(InputError, match=r"schedule = 'cosin'.*constant, cosine"):
        make_updater(stage, PARAMS, 10)


def test_weight_decay_spares_arrays_of_one_axis(tiny):
    plain, _ = direct(tiny)
    decayed, _ = direct(tiny, weight_decay=0.1)
    # Adam's first direction is the gradient's sign; decay adds 0.1 times the parameter.
    np.testing.assert_allclose(plain["encoder"]["kernel"], 1.0, rtol=1e-5)
    np.testing.assert_allclose(decayed["encoder"]["kernel"], 1.0 + 0.1 * 2.0, rtol=1e-5)
    np.testing.assert_allclose(decayed["head"]["kernel"], 1.0 + 0.1 * -1.0, rtol=1e-5)
    np.testing.assert_array_equal(decayed["encoder"]["bias"], plain["encoder"]["bias"])


def test_matches_optax_adamw(tiny):
    settings = Optimizer(learning_rate=0.01, weight_decay=0.1, clip_norm=0.3, b2=0.98)
    updater = make_updater(tiny.make_stage(optimizer=settings), PARAMS, 10)
    oracle = optax.chain(
        optax.clip_by_global_norm(0.3),
        optax.adamw(
            0.01, b2=0.98, weight_decay=0.1, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p)
        ),
    )
    ours = theirs = PARAMS
    our_state, their_state = updater.directions.init(ours), oracle.init(theirs)
    for step in range(3):
        grads = jax.tree.map(lambda array, s=step: (s + 1.0) * jnp.cos(array), PARAMS)
        directions, our_state = updater.directions.update(grads, our_state, ours)
        rate = updater.rate(step, 1.0)
        ours = jax.tree.map(lambda p, d, r=rate: p - r * d, ours, directions)
        updates, their_state = oracle.update(grads, their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), ours, theirs)


def test_frozen_parameters_have_no_moments_and_do_not_move(tiny):
    directions, state = direct(
        tiny, weight_decay=0.1, trainable=lambda path: path.startswith("head/")
    )
    np.testing.assert_array_equal(directions["encoder"]["kernel"], 0.0)
    np.testing.assert_array_equal(directions["encoder"]["bias"], 0.0)
    assert np.all(np.asarray(directions["head"]["kernel"]) != 0.0)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(state))
    assert shapes == [(), (3, 1), (3, 1)]  # Adam's count and the head's two moments


def test_clipping_ignores_frozen_gradients(tiny):
    # The head's gradient norm is 0.5 * sqrt(3) < 1; with the encoder's it would be clipped.
    stage = tiny.make_stage(
        optimizer=Optimizer(clip_norm=1.0, b1=0.0, b2=0.0, eps=1.0),
        trainable=lambda path: path.startswith("head/"),
    )
    updater = make_updater(stage, PARAMS, 10)
    directions, _ = updater.directions.update(GRADS, updater.directions.init(PARAMS), PARAMS)
    # With b1 = b2 = 0 and eps = 1 the direction is g / (|g| + 1) = 0.5 / 1.5.
    np.testing.assert_allclose(directions["head"]["kernel"], 0.5 / 1.5, rtol=1e-5)


def test_paths_and_a_mask_that_freezes_everything(tiny):
    seen = []
    mark_trained(tiny.make_stage(trainable=lambda path: bool(seen.append(path)) or True), PARAMS)
    assert seen == ["encoder/bias", "encoder/kernel", "head/kernel"]
    with pytest.raises(InputError, match="none of the parameters"):
        mark_trained(tiny.make_stage(trainable=lambda path: False), PARAMS)
