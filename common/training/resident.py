"""The events on the devices: a step gathers the histories of its batch there.

The host then sends a few numbers per row (target, negatives, where its history ends) in place of
whole histories, and has no gathering to do. The batches are the same integers either way.
Source: our choice, because a small model waits for its host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from common.data.histories import ENDS, Columns, gather_history, take_columns
from common.data.timeline import Timeline
from common.data.view import View
from common.errors import InputError
from common.training.mesh import put_full
from common.training.task import Batch, Constants, Stage

CHOICES = ("auto", "on", "off")
SHARE = 0.25  # of a device's memory that the events may take
_KEY = "events"  # of the columns, among the constants of a step


@dataclass(frozen=True)
class Resident:
    """The columns of one view, a full copy on each device, and how a step reads them."""

    view: View
    columns: Columns

    def expand(self, batch: Batch) -> Batch:
        """The whole batch of one whose source is resident."""
        return jax.jit(partial(_expand, self.view))(self.columns, batch)

    def add_columns(self, constants: Constants) -> Constants:
        """The constants of a step of `gather_first`."""
        return {**constants, _KEY: self.columns}

    def gather_first(self, stage: Stage) -> Stage:
        """The stage as it is trained by batches of a resident source."""
        probe = None if stage.probe is None else self._wrap(stage.probe)
        return stage._replace(loss=self._wrap(stage.loss), probe=probe)

    def _wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def gather_and_call(params: Any, constants: Constants, batch: Batch, *rest: Any) -> Any:
            own = {name: part for name, part in constants.items() if name != _KEY}
            whole = _expand(self.view, constants[_KEY], batch)
            return function(params, own, whole, *rest)

        return gather_and_call


def put_resident(view: View, columns: Columns | None, mesh: Mesh) -> Resident | None:
    """Copies the columns of a source, where it is resident, to every device."""
    if columns is None:
        return None
    return Resident(view, Columns(*(put_full(mesh, column) for column in columns)))


def choose_columns(
    choice: str, timeline: Timeline, view: View, mesh: Mesh
) -> tuple[Columns | None, str]:
    """The columns to keep on the devices, int32, or None; and why, in one line.

    choice: "on", "off", or "auto": on accelerators, where they take at most `SHARE` of the memory
    of one. A CPU gathers as fast from its own memory.
    Raises InputError for another choice, and for "on" with a view of packed sequences.
    """
    if choice not in CHOICES:
        raise InputError(f"config.resident = {choice!r}: unknown; use one of {', '.join(CHOICES)}")
    if view.packed and choice == "on":
        raise InputError("config.resident = 'on': this method trains on packed sequences, which "
                         "the host makes; use auto")  # fmt: skip
    if view.packed or choice == "off":
        return None, "the host packs sequences" if view.packed else "config.resident is off"
    columns = Columns(*(column.astype(np.int32) for column in take_columns(timeline, view)))
    size = sum(column.nbytes for column in columns) / 1e6
    device = mesh.local_devices[0]  # those of other processes do not tell
    room = (device.memory_stats() or {}).get("bytes_limit", 0) / 1e6
    if choice == "auto" and device.platform == "cpu":
        return None, f"the devices are CPUs; the events take {size:,.1f} MB"
    if choice == "auto" and size > SHARE * room:
        return None, f"the events take {size:,.1f} MB, more than {SHARE:.0%} of {room:,.0f} MB"
    return columns, f"the events take {size:,.1f} MB"


def _expand(view: View, columns: Columns, batch: Batch) -> Batch:
    fields, _ = gather_history(jnp, view, columns, batch)
    return {name: array for name, array in batch.items() if name not in ENDS} | fields
