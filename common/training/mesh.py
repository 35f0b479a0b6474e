"""Devices as a mesh of two axes: "data" splits batches, "model" splits tables.

What is split over "model", `common.training.sharding` says; the rows of a batch are copied over it.

Shapes: [B] batch rows of all processes together
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from common.data.view import HOST_FIELDS
from common.errors import InputError
from common.training.task import Batch

DATA, MODEL = "data", "model"


def make_mesh(devices: Sequence[jax.Device] | None = None, model: int = 1) -> Mesh:
    """A mesh over the given devices, all of them if none are given.

    model: devices that share a table; the others share batches
    """
    devices = jax.devices() if devices is None else devices
    # Auto is spelled out: make_mesh's own default, Explicit, makes flax's Embed fail.
    return jax.make_mesh(
        (len(devices) // model, model), (DATA, MODEL), axis_types=(AxisType.Auto,) * 2,
        devices=devices,
    )  # fmt: skip


def describe_device(mesh: Mesh) -> dict[str, Any]:
    """platform, kind and count of a mesh's devices, as result files carry them."""
    device = mesh.devices.flat[0]
    return {"platform": device.platform, "kind": device.device_kind, "count": mesh.devices.size}


def read_mesh(
    text: str, devices: Sequence[jax.Device] | None = None, name: str = "config.mesh"
) -> Mesh:
    """The mesh of `config.mesh`: "" for all devices on "data", "data:8", or "data:4,model:2".

    devices: None = all there are; name: of what has the text
    An axis that is not named has one device. With several processes all devices must be used.
    Raises InputError for text that is no mesh, and for more devices than there are.
    """
    devices = jax.devices() if devices is None else devices
    if not text:
        return make_mesh(devices)
    sizes = {DATA: 1, MODEL: 1}
    for part in text.split(","):
        axis, _, size = part.strip().partition(":")
        if axis not in sizes or not size.isdecimal() or int(size) < 1:
            raise InputError(
                f"{name} = {text!r}: {part.strip()!r} is no axis with its devices; write it "
                "as data:8 or data:4,model:2"
            )
        sizes[axis] = int(size)
    asked = sizes[DATA] * sizes[MODEL]
    if asked > len(devices) or (asked < len(devices) and jax.process_count() > 1):
        raise InputError(
            f"{name} = {text!r}: asks for {asked} devices, there are {len(devices)} of "
            f"{jax.process_count()} process(es); ask for as many, or leave it empty"
        )
    mesh = make_mesh(devices[:asked], sizes[MODEL])
    try:
        find_part(mesh)
    except ValueError as error:
        raise InputError(f"{name} = {text!r}: {error}") from None
    return mesh


@cache  # asked at every step
def find_part(mesh: Mesh) -> tuple[int, int]:
    """Which part of the rows of every batch this process reads, and of how many parts.

    Processes whose devices share tables, and so see the same rows, read the same part.
    Raises ValueError where two processes see some rows together and others alone.
    """
    owners = np.vectorize(lambda device: device.process_index, otypes=[int])(mesh.devices)
    return share_rows(owners, jax.process_index())


def share_rows(owners: np.ndarray, process: int) -> tuple[int, int]:
    """As `find_part`, from the process [data, model] of every device of a mesh."""
    seen = {owner: tuple(np.flatnonzero((owners == owner).any(axis=1))) for owner in owners.flat}
    parts = sorted(set(seen.values()))
    if len({len(part) for part in parts}) > 1 or sum(map(len, parts)) > len(owners):
        raise ValueError(
            f"the {owners.shape[1]} devices of {MODEL!r} begin in one process and end amid "
            f"another; take a number that divides the devices of a process, or a multiple of them"
        )
    return parts.index(seen[process]), len(parts)


def row_sharding(mesh: Mesh, stacked: bool = False) -> NamedSharding:
    """First axis split over the devices; the second, where batches are stacked."""
    return NamedSharding(mesh, PartitionSpec(None, DATA) if stacked else PartitionSpec(DATA))


def full_sharding(mesh: Mesh) -> NamedSharding:
    """A full copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def check_batch_size(mesh: Mesh, rows: int, name: str = "batch_size", parts: int = 1) -> None:
    """Raises InputError unless the B rows of a batch divide by the devices of "data".

    name: of the key that has the number; parts: of a batch (`config.accumulate`)
    """
    devices = mesh.shape[DATA]
    unit = devices * parts
    if rows % unit or rows == 0:
        below, above = rows // unit * unit, (rows // unit + 1) * unit
        use = f"{below} or {above}" if below else f"{above}"
        by = f"{devices} devices" + (f" in {parts} parts each" if parts > 1 else "")
        raise InputError(f"{name} = {rows}: does not divide by {by}; use {use}")


def put_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> Batch:
    """Moves a batch to the devices, split by rows, without the fields that stay on the host.

    batch: numpy arrays of this process's rows, [B / parts, ...] each; see `find_part`
    Returns global arrays [B, ...] of the same dtypes.
    Raises InputError when B does not divide by the devices.
    """
    fields = {name: array for name, array in batch.items() if name not in HOST_FIELDS}
    return _join_parts(mesh, fields, stacked=False)


def put_batches(mesh: Mesh, batches: Sequence[Mapping[str, np.ndarray]]) -> Batch:
    """As `put_batch`, of several batches: arrays [batches, B, ...]; one batch is not stacked."""
    if len(batches) == 1:
        return put_batch(mesh, batches[0])
    fields = {
        name: np.stack([batch[name] for batch in batches])
        for name in batches[0]
        if name not in HOST_FIELDS
    }
    return _join_parts(mesh, fields, stacked=True)


def _join_parts(mesh: Mesh, fields: Mapping[str, np.ndarray], stacked: bool) -> Batch:
    sharding, axis, parts = row_sharding(mesh, stacked), int(stacked), find_part(mesh)[1]
    arrays = {}
    for name, array in fields.items():
        shape = list(array.shape)
        shape[axis] *= parts
        check_batch_size(mesh, shape[axis])
        arrays[name] = jax.make_array_from_process_local_data(sharding, array, tuple(shape))
    return arrays


def copy_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> Batch:
    """As `put_batch`, with a full copy on every device: any number of rows, for shapes.

    batch: the same in all processes
    """
    return {name: put_full(mesh, array) for name, array in batch.items() if name not in HOST_FIELDS}


def spread_batch(mesh: Mesh, batch: Mapping[str, np.ndarray]) -> Batch:
    """As `put_batch`, from all rows [B, ...] in every process, each of which takes its own."""
    sharding = row_sharding(mesh)
    fields = {name: array for name, array in batch.items() if name not in HOST_FIELDS}
    for array in fields.values():
        check_batch_size(mesh, len(array), "config.eval.batch_size")
    return {
        name: jax.make_array_from_callback(array.shape, sharding, array.__getitem__)
        for name, array in fields.items()
    }


def fetch(mesh: Mesh, tree: Any) -> Any:
    """The whole of every array on the host, in every process."""
    if jax.process_count() > 1:
        tree = jax.jit(lambda same: same, out_shardings=full_sharding(mesh))(tree)
    return jax.device_get(tree)


def put_full(mesh: Mesh, array: np.ndarray | np.generic) -> jax.Array:
    """Copies a host array or number, the same in all processes, to every device."""
    return jax.make_array_from_process_local_data(full_sharding(mesh), np.asarray(array))
