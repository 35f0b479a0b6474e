"""Initial parameters, with each kind of draw compiled once.

One program of a whole `init` has every draw in it, unrolled: the 225 of a T5 base were 100,000
instructions, and took minutes to compile for an accelerator. So the normal numbers of all arrays
are drawn in one loop (`draws.py`), and of other arrays those that come about in the same way (one
initialiser, one shape) in one loop over their keys. The numbers are those of `jax.jit(init)`, up to
the rounding of the last bit: a compiler that sees a draw's two factors multiplies them first.

Source: ours; goodfire-ai/spd, pull request 956, found the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from common.training.draws import draw_blocks, find_draws, place_blocks
from common.training.task import Batch


def plan_init(
    init: Callable[..., Any], key: jax.Array, batch: Batch
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function to be jitted, and its arguments, that gives what `init(key, batch)` gives.

    init: a pure function to a tree of arrays; what its result does not need is left out
    key: typed, a full copy on every device
    """
    traced = jax.jit(init).trace(key, batch)
    jaxpr, consts = traced.jaxpr.jaxpr, traced.jaxpr.consts
    makers = {var: (place, eqn) for place, eqn in enumerate(jaxpr.eqns) for var in eqn.outvars}
    impl = jax.random.key_impl(key)
    draws = find_draws(jaxpr, impl)

    def is_given(var: Any) -> bool:
        return is_key(var) or var in draws

    parts = [cut_out(jaxpr, makers, [out], is_given) for out in jaxpr.outvars]
    used = {var for part in parts for var in part.invars}
    draws = {var: draw for var, draw in draws.items() if var in used}
    kinds: dict[Any, list[int]] = {}  # places in the result of what differs in its keys only
    for place, part in enumerate(parts):
        others = tuple(var for var in part.invars if not is_key(var))
        # Printed with fresh names, and without the constants of what is inside.
        own = place if hides_constants(part) else None
        kinds.setdefault((str(part), others, own), []).append(place)
    # One by one, each process for itself: in one program they would be as long as the draws.
    own = jax.random.wrap_key_data(jnp.asarray(np.asarray(jax.random.key_data(key))), impl=impl)
    inputs = dict(zip(jaxpr.constvars, consts, strict=True))
    inputs |= dict(zip(jaxpr.invars, [own, *jax.tree.leaves(batch)], strict=True))
    wanted = [var for part in parts for var in part.invars if is_key(var)]
    wanted = list(dict.fromkeys([*wanted, *(draw.key for draw in draws.values())]))
    derive = cut_out(jaxpr, makers, wanted)
    found = run(derive, [inputs[var] for var in derive.invars])
    keys = {var: np.asarray(jax.random.key_data(k)) for var, k in zip(wanted, found, strict=True)}

    def stack_keys(places: list[int]) -> list[np.ndarray]:
        inputs = zip(*(parts[place].invars for place in places), strict=True)
        return [np.stack([keys[var] for var in each]) for each in inputs if is_key(each[0])]

    def make(batch: Batch, blocks: Sequence[Any], stacks: Sequence[Sequence[Any]]) -> Any:
        given = dict(zip(jaxpr.constvars, consts, strict=True))
        given |= dict(zip(jaxpr.invars[1:], jax.tree.leaves(batch), strict=True))
        given |= draw_blocks(draws, blocks)
        made: dict[int, Any] = {}
        for places, stack in zip(kinds.values(), stacks, strict=True):
            part = parts[places[0]]

            def draw(data: Sequence[Any], part: Jaxpr = part) -> Any:
                drawn = (jax.random.wrap_key_data(each, impl=impl) for each in data)
                values = [next(drawn) if is_key(var) else given[var] for var in part.invars]
                return run(part, values)[0]

            if len(places) == 1 or not stack:
                array = draw([data[0] for data in stack])
                made |= dict.fromkeys(places, array)
            else:
                # One after the other: under vmap a draw takes twice as long to compile.
                made |= dict(zip(places, jax.lax.map(draw, stack), strict=True))
        leaves = [made[place] for place in range(len(parts))]
        return jax.tree.unflatten(jax.tree.structure(traced.out_info), leaves)

    stacks = [stack_keys(places) for places in kinds.values()]
    return make, (batch, place_blocks(draws, keys), stacks)


def cut_out(
    jaxpr: Jaxpr,
    makers: Mapping[Var, tuple[int, JaxprEqn]],
    outs: Sequence[Any],
    is_start: Callable[[Var], bool] = lambda var: False,
) -> Jaxpr:
    """The operations that `outs` come from, back to arguments, constants and what `is_start`.

    makers: variable -> the place in `jaxpr` of the operation that makes it, and the operation
    What it goes back to are the arguments of the result, in an order that equal operations share.
    """
    starts: dict[Var, None] = {}
    needed: dict[int, JaxprEqn] = {}
    left = list(reversed(outs))
    while left:
        var = left.pop()
        if isinstance(var, Literal):
            continue
        if is_start(var) or var not in makers:
            starts[var] = None
            continue
        place, eqn = makers[var]
        if place not in needed:
            needed[place] = eqn
            left.extend(reversed(eqn.invars))
    eqns = [needed[place] for place in sorted(needed)]
    return jaxpr.replace(constvars=[], invars=list(starts), outvars=list(outs), eqns=eqns)


def run(jaxpr: Jaxpr, values: Sequence[Any]) -> list[Any]:
    """What the operations of a jaxpr without constants give."""
    found: list[Any] = jaxpr_as_fun(ClosedJaxpr(jaxpr, ()))(*values)
    return found


def hides_constants(jaxpr: Jaxpr) -> bool:
    """Whether a function inside has arrays that it closes over."""
    inside = [
        each
        for eqn in jaxpr.eqns
        for value in eqn.params.values()
        for each in (value if isinstance(value, tuple | list) else [value])
        if isinstance(each, ClosedJaxpr)
    ]
    return any(each.consts or hides_constants(each.jaxpr) for each in inside)


def is_key(var: Any) -> bool:
    """Whether a variable of a jaxpr is a typed key, or an array of them."""
    return bool(jax.dtypes.issubdtype(var.aval.dtype, jax.dtypes.prng_key))
