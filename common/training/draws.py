"""Normal numbers for arrays of all shapes, drawn in one loop over blocks.

Each number of a draw comes from the draw's key and the number's place alone, so a draw can be made
in blocks, and those of many arrays with one program of a block. The numbers are those of
`jax.random.normal` and `jax.random.truncated_normal` for the whole array, to the last bit.

Source: Salmon et al., SC 2011, for numbers from counters; the blocks are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import Jaxpr, JaxprEqn, Literal, Var
from jax.extend.random import define_prng_impl, threefry2x32_p

BLOCK = 2**14  # numbers; what an array does not need of its last block is thrown away
# By their names in a jaxpr, functions of a key, numbers and a shape.
FAMILIES: dict[str, Callable[..., jax.Array]] = {
    "_normal": jax.random.normal,
    "_truncated_normal": jax.random.truncated_normal,
}
Draws = Mapping[Var, JaxprEqn]  # what is drawn -> the operation that draws it


def find_draws(jaxpr: Jaxpr, impl: Any) -> dict[Var, JaxprEqn]:
    """The operations of a jaxpr that `draw_blocks` can make; impl: of its keys.

    None where a number does not come from its key and its place alone.
    """
    by_place = impl == "threefry2x32" and jax.config.jax_threefry_partitionable
    return {eqn.outvars[0]: eqn for eqn in jaxpr.eqns if by_place and _is_normal(eqn)}


def _is_normal(eqn: JaxprEqn) -> bool:
    (first, *numbers), made = eqn.invars or [None], eqn.outvars[0].aval if eqn.outvars else None
    return (
        eqn.params.get("name") in FAMILIES
        and all(isinstance(number, Literal) for number in numbers)
        and made.dtype == jnp.float32
        and made.shape[: first.aval.ndim] == first.aval.shape
        and made.size < 2**32
    )


def place_blocks(draws: Draws, keys: Mapping[Var, np.ndarray]) -> list[np.ndarray]:
    """The blocks of each family, uint32 [blocks, 3]: a key's two words and the first place.

    keys: the data of every key that is drawn from, uint32 [..., 2]
    """

    def place(eqn: JaxprEqn) -> np.ndarray:
        data, count = keys[eqn.invars[0]].reshape(-1, 2), _count_blocks(eqn)
        first = np.tile(np.arange(count, dtype=np.uint32) * BLOCK, len(data))
        return np.concatenate([np.repeat(data, count, axis=0), first[:, None]], axis=1)

    return [np.concatenate([place(eqn) for eqn in eqns]) for eqns in _group(draws).values()]


def draw_blocks(draws: Draws, blocks: Sequence[jax.Array]) -> dict[Var, jax.Array]:
    """What the operations of `draws` give; blocks: as `place_blocks` returns them."""
    made: dict[Var, jax.Array] = {}
    for ((name, numbers), eqns), own in zip(_group(draws).items(), blocks, strict=True):
        draw = partial(_draw_block, FAMILIES[name], numbers)
        found, start = jax.lax.map(draw, own), 0
        for eqn in eqns:
            out, many, count = eqn.outvars[0], eqn.invars[0].aval.size, _count_blocks(eqn)
            part = found[start : start + many * count].reshape(many, -1)
            made[out] = part[:, : out.aval.size // many].reshape(out.aval.shape)
            start += many * count
    return made


def _group(draws: Draws) -> dict[tuple[str, tuple[Any, ...]], list[JaxprEqn]]:
    families: dict[Any, list[JaxprEqn]] = {}
    for eqn in draws.values():
        numbers = tuple(number.val for number in eqn.invars[1:])
        families.setdefault((eqn.params["name"], numbers), []).append(eqn)
    return families


def _count_blocks(eqn: JaxprEqn) -> int:
    """Blocks for each of the operation's keys."""
    return -(-eqn.outvars[0].aval.size // (eqn.invars[0].aval.size * BLOCK))


def _draw_block(
    function: Callable[..., jax.Array], numbers: Sequence[Any], block: jax.Array
) -> jax.Array:
    return function(jax.random.wrap_key_data(block, impl=_PLACED), *numbers, shape=(BLOCK,))


def _bits_from(block: jax.Array, width: int, shape: Sequence[int]) -> jax.Array:
    """The bits that the key of a block has from the block's first place on."""
    low = block[2] + jax.lax.iota(jnp.uint32, BLOCK)
    first, second = threefry2x32_p.bind(block[0], block[1], jnp.zeros_like(low), low)
    return (first ^ second).reshape(shape)


def _refuse(*_: Any) -> Any:
    raise NotImplementedError("a block has no keys of its own")


_PLACED = define_prng_impl(
    key_shape=(3,), seed=_refuse, split=_refuse, random_bits=_bits_from, fold_in=_refuse,
    name="placed", tag="placed",
)  # fmt: skip
