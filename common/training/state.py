"""What a run is at one moment: `TrainState` on the devices, `Progress` on the host."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import jax

from common.errors import InputError
from common.json_files import check_kind, take
from common.training.task import Params

_AGAIN = "train again"
_NONE = type(None)
# What a JSON value of a field's type is.
_KINDS: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (float,), "str": (str,), "bool": (bool,),
    "int | None": (int, _NONE), "float | None": (float, _NONE),
}  # fmt: skip


class TrainState(NamedTuple):
    """What a training step changes. It holds arrays only: it prints, saves and compares."""

    step: jax.Array  # int32 [], finished updates of this stage
    params: Params
    opt_state: Any  # the optimiser's moments; none for parameters that are not trained
    start: Params | None = None  # the stage's first parameters, where it keeps them


@dataclass(frozen=True)
class StageSummary:
    """How a finished stage went."""

    name: str
    steps: int  # updates done
    metric: str  # what the stage was judged by
    best_value: float
    best_step: int  # of the whole run
    ended_by: str  # "epochs" or "patience"
    rate_scale: float  # what the plateau rule left of the learning rate


@dataclass(frozen=True)
class Progress:
    """Where a run stands, beside its arrays; saved as JSON in every checkpoint.

    Steps are finished updates. `step` counts within the stage: it drives the random keys, the
    schedule and the data position. `global_step` counts over all stages: it names checkpoints and
    log lines, and it never goes back.
    """

    stage: int = 0  # index into Task.stages
    stage_name: str = ""
    stage_start: int = 0  # global step at which the stage began
    step: int = 0
    evaluated_step: int = 0  # the stage's step of the last evaluation; 0 = none yet
    best_value: float | None = None  # of Stopping.metric in this stage
    best_step: int | None = None  # the global step it was reached at
    former_best_value: float | None = None  # the best before that; its checkpoint is kept too
    former_best_step: int | None = None
    bad_evaluations: int = 0  # without a gain, one after the other
    bad_since_drop: int = 0  # the same, counted again after each drop of the learning rate
    rate_scale: float = 1.0
    stopped: bool = False  # ended by patience
    ended: bool = False  # the stage is at its end, and was judged there
    position: dict[str, int] = field(default_factory=dict)  # of the data, as the source names it
    rows: dict[str, int] = field(default_factory=dict)  # as `Task.rows` when it was saved
    train_seconds: float = 0.0  # of timed steps only: no compiling, evaluating or saving
    wait_seconds: float = 0.0  # the part of them spent waiting for the next batch
    timed_examples: int = 0
    earlier_seconds: float = 0.0  # of the three above, what the finished stages had
    earlier_wait_seconds: float = 0.0
    earlier_examples: int = 0
    stages: tuple[StageSummary, ...] = ()  # the stages before this one

    @property
    def global_step(self) -> int:
        return self.stage_start + self.step

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings, dicts and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Progress:
        """The reverse of `to_json`.

        Raises InputError naming the key of a value that cannot be, TypeError for unknown keys.
        """
        stages: list[Any] = list(take(saved, "stages", (list, tuple), "progress", _AGAIN))
        for stage in stages:
            check_kind(stage, dict, "progress, key stages", _AGAIN)
        whole = cls(**{**saved, "stages": tuple(StageSummary(**stage) for stage in stages)})
        parts: tuple[Progress | StageSummary, ...] = (whole, *whole.stages)
        for part in parts:
            for field_ in fields(part):
                _check_field(field_.name, getattr(part, field_.name), str(field_.type))
        return whole


def _check_field(name: str, value: Any, kind: str) -> None:
    """Raises InputError unless a field of `Progress` or `StageSummary` has its declared type."""
    where = f"progress, key {name}"
    if kind == "dict[str, int]":
        check_kind(value, dict, where, _AGAIN)
        for key, number in value.items():
            check_kind(number, int, f"{where}.{key}", _AGAIN)
    elif kind in _KINDS:
        check_kind(value, _KINDS[kind], where, _AGAIN)
    if kind == "int" and value < 0:
        raise InputError(f"{where}: is {value}, below 0; {_AGAIN}")


def derive_key(seed: int, name: str) -> jax.Array:
    """The typed key for one named use ("init", "stage/supervised") of a run's seed."""
    key = jax.random.key(seed)
    if seed >> 32 > 0:  # JAX takes the lower 32 bits of a seed and drops the others without a word
        key = jax.random.fold_in(key, seed >> 32)
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def step_key(key: jax.Array, step: jax.Array | int) -> jax.Array:
    """The key of one step. Nothing is carried from step to step, so a resumed run has the same."""
    return jax.random.fold_in(key, step)
