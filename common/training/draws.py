"""Normal numbers for arrays of all shapes, drawn in one loop over blocks.

Each number of a draw comes from the draw's key and the number's place alone, so a draw can be made
in blocks, and those of many arrays with one program of a block. The numbers are those of
`jax.random.normal` and `jax.random.truncated_normal` for the whole array.

Source: Salmon et al., SC 2011, for numbers from counters; the blocks are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

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


class Draw(NamedTuple):
    """An operation that draws `each` numbers for each of its keys, [*keys, ...] in shape."""

    family: str
    numbers: tuple[Any, ...]  # that the function gets beside the key
    key: Var  # one, or an array of them
    keys: int
    each: int
    shape: tuple[int, ...]

    @property
    def blocks(self) -> int:
        """Blocks for one key."""
        return -(-self.each // BLOCK)


def find_draws(jaxpr: Jaxpr, impl: Any) -> dict[Var, Draw]:
    """What `draw_blocks` can draw, by the variable of a jaxpr that it is; impl: of its keys.

    Nothing where numbers do not come from their key and place alone.
    """
    if impl != "threefry2x32":
        return {}
    return {eqn.outvars[0]: draw for eqn in jaxpr.eqns if (draw := _read_draw(eqn)) is not None}


def _read_draw(eqn: JaxprEqn) -> Draw | None:
    name = eqn.params.get("name")
    if name not in FAMILIES:
        return None
    key, *rest = eqn.invars
    numbers = tuple(number.val for number in rest if isinstance(number, Literal))
    many: Any = key.aval
    made: Any = eqn.outvars[0].aval
    fits = made.dtype == jnp.float32 and made.shape[: many.ndim] == many.shape
    if not fits or isinstance(key, Literal) or len(numbers) < len(rest) or not made.size:
        return None
    count = made.size // many.size
    return Draw(name, numbers, key, many.size, count, made.shape) if count < 2**32 else None


def place_blocks(draws: Mapping[Var, Draw], keys: Mapping[Var, np.ndarray]) -> list[np.ndarray]:
    """The blocks of each family, uint32 [blocks, 3]: a key's two words and the first place.

    keys: the data of every key that is drawn from, uint32 [..., 2]
    """

    def place(draw: Draw) -> np.ndarray:
        data = np.repeat(keys[draw.key].reshape(-1, 2), draw.blocks, axis=0)
        first = np.tile(np.arange(draw.blocks, dtype=np.uint32) * BLOCK, draw.keys)
        return np.concatenate([data, first[:, None]], axis=1)

    return [np.concatenate([place(draws[var]) for var in own]) for own in _group(draws).values()]


def draw_blocks(draws: Mapping[Var, Draw], blocks: Sequence[jax.Array]) -> dict[Var, jax.Array]:
    """The arrays of `draws`; blocks: as `place_blocks` returns them."""
    made: dict[Var, jax.Array] = {}
    for ((family, numbers), own), places in zip(_group(draws).items(), blocks, strict=True):
        found = jax.lax.map(partial(_draw_block, FAMILIES[family], numbers), places)
        start = 0
        for var in own:
            draw = draws[var]
            end = start + draw.keys * draw.blocks
            part = found[start:end].reshape(draw.keys, -1)[:, : draw.each]
            made[var], start = part.reshape(draw.shape), end
    return made


def _group(draws: Mapping[Var, Draw]) -> dict[tuple[str, tuple[Any, ...]], list[Var]]:
    families: dict[Any, list[Var]] = {}
    for var, draw in draws.items():
        families.setdefault((draw.family, draw.numbers), []).append(var)
    return families


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
