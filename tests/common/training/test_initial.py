"""Initial parameters are those of `init`, and draws of one kind are one draw."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from common.training.initial import is_key, plan_init

TABLE = np.arange(6, dtype=np.float32).reshape(2, 3)


class Tower(nn.Module):
    """Four layers of one shape, one of another, a table, and a scale that nothing draws."""

    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(7, 4, name="table")(ids)
        for place in range(4):
            x = nn.Dense(4, name=f"layer_{place}")(x)
        scale = self.param("scale", nn.initializers.ones, ())
        return nn.Dense(3, name="last")(x) * scale


def init(key, batch):
    """With draws of its own besides Flax's, and arrays of a function inside."""
    first, second = jax.random.split(jax.random.fold_in(key, 7))
    shift = [jax.jit(lambda x, by=by: x + by)(jnp.ones((2, 3))) for by in (TABLE, TABLE + 1)]
    params = Tower().init(key, batch["ids"])["params"]
    params |= {"own": jax.random.normal(first, (4, 4)) * jax.random.uniform(second, (4, 4))}
    draw = nn.initializers.normal(0.3)
    params |= {"stacked": jax.vmap(lambda key: draw(key, (4, 5)))(jax.random.split(second, 3))}
    return params, {"ids": batch["ids"], "table": jnp.asarray(TABLE), "shift": shift}


def run_both(batch):
    key = jax.random.key(3)
    make, arguments = plan_init(init, key, batch)
    return jax.jit(make)(*arguments), jax.jit(init)(key, batch)


BATCH = {"ids": np.array([1, 6]), "unused": np.zeros(3)}


def test_parameters_and_constants_are_those_of_init():
    found, wanted = run_both(BATCH)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-7), found, wanted)
    kernels = [found[0][f"layer_{place}"]["kernel"] for place in range(4)]
    assert len({kernel.tobytes() for kernel in map(np.asarray, kernels)}) == 4


def count_draws(jaxpr):
    inside = [v.jaxpr for eqn in jaxpr.eqns for v in eqn.params.values() if hasattr(v, "jaxpr")]
    own = sum(eqn.primitive.name == "random_bits" for eqn in jaxpr.eqns)
    return own + sum(map(count_draws, inside))


def test_draws_of_one_kind_are_one_draw():
    make, arguments = plan_init(init, jax.random.key(3), BATCH)
    # The table, four layers and the last one, the two of `own`, and `stacked`.
    assert count_draws(jax.make_jaxpr(init)(jax.random.key(3), BATCH)) == 9
    # Normal, normal within bounds, and uniform.
    assert count_draws(jax.make_jaxpr(make)(*arguments)) == 3


def test_the_forward_pass_is_left_out():
    make, arguments = plan_init(init, jax.random.key(3), BATCH)
    assert "dot_general" not in str(jax.make_jaxpr(make)(*arguments))


def test_keys_are_told_from_numbers():
    jaxpr = jax.make_jaxpr(lambda key, x: (key, x))(jax.random.key(0), 1.0).jaxpr
    assert [is_key(var) for var in jaxpr.invars] == [True, False]
