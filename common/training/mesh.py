"""Devices as a mesh of one axis, "data": batches are split over it, everything else is copied.

Shapes: [B] batch rows of all processes together
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from common.data.view import HOST_FIELDS
from common.errors import InputError
from common.training.task import Batch


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of one axis, "data", over the given devices (all of them if none are given)."""
    devices = jax.devices() if devices is None else devices
    # Auto is spelled out: make_mesh's own default, Explicit, makes flax's Embed fail.
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def row_sharding(mesh: Mesh) -> NamedSharding:
    """First axis split over the devices."""
    return NamedSharding(mesh, PartitionSpec("data"))


def full_sharding(mesh: Mesh) -> NamedSharding:
    """A full copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(mesh: Mesh, rows: int) -> None:
    """Raises InputError unless the B rows of a batch divide by the devices."""
    devices = mesh.size
    if rows % devices or rows == 0:
        below, above = rows // devices * devices, (rows // devices + 1) * devices
        use = f"{below} or {above}" if below else f"{above}"
        raise InputError(f"batch_size = {rows}: does not divide by {devices} devices; use {use}")


def put_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> Batch:
    """Moves a batch to the devices, split by rows, without the fields that stay on the host.

    batch: numpy arrays of this process's rows, [B / processes, ...] each
    Returns global arrays [B, ...] of the same dtypes.
    Raises InputError when B does not divide by the devices.
    """
    sharding = row_sharding(mesh)
    fields = {name: array for name, array in batch.items() if name not in HOST_FIELDS}
    for array in fields.values():
        check_batch_size(mesh, len(array) * jax.process_count())
    return {
        name: jax.make_array_from_process_local_data(sharding, array)
        for name, array in fields.items()
    }


def put_full(mesh: Mesh, array: np.ndarray | np.generic) -> jax.Array:
    """Copies a host array or number, the same in all processes, to every device."""
    return jax.make_array_from_process_local_data(full_sharding(mesh), np.asarray(array))
