"""Rows that the devices of a mesh share, so that a step exchanges gradients and little else.

All is asked of the mesh around the call (`jax.sharding.use_abstract_mesh`), which a training step
sets; without one there is a single device, and nothing here does anything.

Shapes: [B] rows  [S] shards  [I] rows of a table  [D] width
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

# The axes of `common.training.mesh` over which rows of a batch, and rows of a table, are split.
ROWS_AXIS, TABLE_AXIS = "data", "model"


def count_shards(rows: int) -> int:
    """Devices that share the rows, by the mesh around the call; 1 where they do not divide.

    A scan over blocks of rows that several devices share would have each device do all of them.
    """
    shards: int = jax.sharding.get_abstract_mesh().shape.get(ROWS_AXIS, 1)
    return shards if rows % shards == 0 else 1


def splits_tables() -> bool:
    """Whether devices share the rows of tables."""
    return bool(jax.sharding.get_abstract_mesh().shape.get(TABLE_AXIS, 1) > 1)


def hold_whole(x: jax.Array) -> jax.Array:
    """x, made by each device for itself: what all rows share, and is cheaper made than sent."""
    return _constrain(x, PartitionSpec())


def copy_for_shards(table: jax.Array, rows: int) -> jax.Array:
    """[S, I, D] of a table [I, D]: the same for each of the shards of `rows` rows.

    What the shards add to its gradient is then summed over devices once, however many look-ups
    there are; of each look-up in the table itself it would be summed by itself.
    """
    copies = jnp.broadcast_to(table, (count_shards(rows), *table.shape))
    return _constrain(copies, PartitionSpec(ROWS_AXIS))


def look_up(copies: jax.Array, ids: jax.Array) -> jax.Array:
    """Vectors [B, ..., D] of ids [B, ...] in `copy_for_shards`: each shard looks in its own."""
    found = jax.vmap(lambda table, own: table[own])(copies, ids.reshape(len(copies), -1))
    return found.reshape(*ids.shape, copies.shape[-1])


def _constrain(x: jax.Array, spec: PartitionSpec) -> jax.Array:
    return x if count_shards(0) == 1 else jax.lax.with_sharding_constraint(x, spec)
