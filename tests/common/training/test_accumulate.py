"""A batch in parts, whose gradients are made one after the other."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import InputError
from common.training.mesh import check_batch_size, make_mesh
from common.training.settings import TrainSettings
from common.training.step import add_parts


def quiet_loss(tiny, params, constants, batch, key):
    """The mean of the tiny task without its noise, which would differ from part to part."""
    error = jnp.square(tiny.predict(params, constants, batch["user"]) - batch["value"])
    valid = batch["valid"].astype(jnp.float32)
    mean = jnp.sum(error * valid) / jnp.maximum(jnp.sum(valid), 1)
    return mean, {"error": mean}


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_parts_train_what_the_whole_batch_trains(tiny, tmp_path, parts):
    """Batches of 8, of which the last of an epoch has 3 pads: some parts are pads alone."""

    def loss(*arguments):
        return quiet_loss(tiny, *arguments)

    task = tiny.make_task(tiny.make_stage(loss=loss))
    whole = tiny.run(tmp_path / "whole", task)
    cut = tiny.run(tmp_path / "cut", task, settings=replace(tiny.QUIET, accumulate=parts))
    assert cut.global_step == whole.global_step
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6),
        cut.params, whole.params,
    )  # fmt: skip
    lines, others = (tiny.read_lines(tmp_path / name, "train") for name in ("whole", "cut"))
    for line, other in zip(lines, others, strict=True):
        for name, value in line["values"].items():
            np.testing.assert_allclose(other["values"][name], value, rtol=2e-4, err_msg=name)


def test_each_part_has_its_rows_its_weight_and_its_key():
    batch = {
        "valid": jnp.array([1, 1, 1, 0], jnp.uint8),
        "x": jnp.array([1.0, 2.0, 4.0, 8.0]),
        "negatives": jnp.zeros((4, 0), jnp.int32),  # a method may want none
    }

    def differentiate(part, key):
        valid = part["valid"].astype(jnp.float32)
        return {
            "mean": (part["x"] * valid).sum() / valid.sum(),
            "noise": jax.random.uniform(key),
        }

    key = jax.random.key(0)
    found = add_parts(differentiate, batch, key, 2)
    # Rows 0 and 2 of weight 2 / 3, then row 1, beside a pad, of weight 1 / 3.
    assert found["mean"] == pytest.approx((1 + 4) / 2 * 2 / 3 + 2 / 3)
    noise = [jax.random.uniform(jax.random.fold_in(key, number)) for number in (0, 1)]
    assert found["noise"] == pytest.approx(noise[0] * 2 / 3 + noise[1] / 3)


def test_it_goes_with_several_steps_per_dispatch_and_a_restart(tiny, tmp_path):
    settings = replace(tiny.QUIET, accumulate=2, steps_per_dispatch=3, checkpoint_every_steps=5)
    whole = tiny.run(tmp_path / "whole", settings=settings)
    part = tiny.run(tmp_path / "part", settings=settings, iterate=tiny.interrupt("SIGTERM", 9))
    assert part.interrupted == "SIGTERM"
    tiny.assert_same(tiny.run(tmp_path / "part", settings=settings).params, whole.params)


def test_a_batch_that_does_not_divide_is_refused():
    mesh = make_mesh(jax.devices()[:1])
    with pytest.raises(
        InputError, match="batch_size = 8: does not divide by 1 devices in 3 parts each; use 6 or 9"
    ):
        check_batch_size(mesh, 8, parts=3)
    with pytest.raises(InputError, match="accumulate = 0"):
        TrainSettings(accumulate=0)
