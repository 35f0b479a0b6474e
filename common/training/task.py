"""The contract between a method and the rest: a `Task` is a value made of pure functions.

A method package has one public value, a `Method` (`common.runs.methods`), whose
`build(settings, dataset)` makes the task.

Shapes: [B] batch  [C] candidates  [n] catalogue items
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import jax

from common.data.view import View
from common.settings.groups import OptimizerSettings, PlateauSettings, StoppingSettings
from common.training.cost import Cost

Params = Any  # a pytree of float32 arrays
Constants = Any  # a pytree of arrays that are not trained; {} where there are none
Batch = dict[str, jax.Array]  # the fields of `View`, without `HOST_FIELDS`
Metrics = dict[str, jax.Array]  # name -> float32 scalar
# Names among the constants that the trainer adds to those of a method: the columns of events that
# a step gathers histories from, and a stage's first parameters where it keeps them.
RESERVED = frozenset({"events", "start"})


@dataclass(frozen=True)
class Optimizer(OptimizerSettings):
    """AdamW with warm-up, a schedule and clipping by global norm: settings, and a method's own."""

    final_fraction: float = 0.0  # of the rate, at the last step of schedule "cosine"
    # decayed(path) -> bool, for arrays of two or more axes; None = all of them
    decayed: Callable[[str], bool] | None = None
    # rate_share(path) -> share of the learning rate that a parameter gets; None = all of it
    rate_share: Callable[[str], float] | None = None
    b1: float = 0.9
    b2: float = 0.999
    eps: float = 1e-8


@dataclass(frozen=True)
class Stopping(StoppingSettings, PlateauSettings):
    """When a stage lowers its learning rate and when it ends, by a validation metric.

    An evaluation counts as a gain when the metric, a key of what `validate` returns, exceeds the
    best so far.
    """


class Stage(NamedTuple):
    """One training stage: its loss, its data, its optimiser."""

    name: str
    # loss(params, constants, batch, key) -> (float32 scalar, {name: float32 scalar}). Pure. Means
    # are over batch["valid"] rows only. Where `keeps_start`, constants["start"] is a copy of the
    # parameters that the stage began with.
    loss: Callable[[Params, Constants, Batch, jax.Array], tuple[jax.Array, Metrics]]
    view: View
    batch_size: int  # global, over all devices and processes
    epochs: int  # upper bound; Stopping may end the stage earlier
    optimizer: Optimizer = Optimizer()
    stopping: Stopping = Stopping()
    # trainable(path) with path as "encoder/layer_0/kernel"; None = everything is trained
    trainable: Callable[[str], bool] | None = None
    keeps_start: bool = False
    eval_every_epochs: float | None = None  # None = as the run's TrainSettings say
    cost: Cost | None = None  # of one example: the logbook then has tokens and FLOP per second
    # prepare(params, constants) -> the constants of this stage: what an earlier stage has learned,
    # as arrays. Its loss and validation get them, and those of the last stage are the model's.
    # Called before the stage's first step and after every restart, so the parameters that the
    # stage trains are None there: what is made of them would not be the same again.
    prepare: Callable[[Params, Constants], Constants] | None = None
    # probe(params, constants, batch) -> {name: float32 scalar}: what the logbook gets of some
    # steps, of the parameters before the step and its batch. Pure. It changes nothing.
    probe: Callable[[Params, Constants, Batch], Metrics] | None = None
    # Take the place of the task's own while this stage is validated; None = the task's
    score: Callable[[Params, Constants, Batch], jax.Array] | None = None
    score_catalogue: Callable[[Params, Constants, Batch, jax.Array], jax.Array] | None = None


class Other(NamedTuple):
    """A trained model of another method, which finds what this one ranks again."""

    view: View
    params: Params
    constants: Constants


@dataclass(frozen=True)
class Retriever:
    """What finds, in the whole catalogue, the items that a slower method ranks again."""

    name: str  # "lightgcn"
    # As in `Task`; called with what is the task's, or the other model's, and batches of its view
    score_catalogue: Callable[[Params, Constants, Batch, jax.Array], jax.Array]
    count: int  # items retrieved per row
    other: Other | None = None  # None = it is part of the task's own model
    # Of `other`, for result files: its run and step
    origin: Mapping[str, Any] = field(default_factory=dict)


class Identity(NamedTuple):
    """Something that a trained model hangs on beside configuration and dataset."""

    name: str  # "vocabulary"
    value: str  # a hash: equal where it is the same
    remedy: str  # what to do where it is not


class Task(NamedTuple):
    """A method as the trainer and the evaluator see it."""

    name: str  # "lcr"
    tasks: tuple[str, ...]  # which of ("rec", "search") it serves
    view: View  # for evaluation
    # init(key, batch) -> (params, constants)
    init: Callable[[jax.Array, Batch], tuple[Params, Constants]]
    stages: tuple[Stage, ...]
    # score(params, constants, batch) -> float32 [B, C], C = 1 + negatives, `candidate_items` order.
    # Which candidate is the true one is hidden: batch["target"] is whichever stands first after
    # shuffling (`common.ranking.blind`).
    score: Callable[[Params, Constants, Batch], jax.Array]
    # score_catalogue(params, constants, batch, items int32 [n]) -> float32 [B, n]
    score_catalogue: Callable[[Params, Constants, Batch, jax.Array], jax.Array] | None = None
    # Where there is no `score_catalogue`: "rec" or "search" -> what finds the items of the full
    # ranking, which `score` then ranks. A task without one has no full ranking.
    retrievers: Mapping[str, Retriever] = MappingProxyType({})
    # explain(params, constants, batch) -> {name: array}
    explain: Callable[[Params, Constants, Batch], dict[str, jax.Array]] | None = None
    # pretrained(params) -> the same with the arrays of a published checkpoint in their places.
    # Called once, when a run begins; it reads files, so it is not traced: what it gives is checked
    # against what `init` gives.
    pretrained: Callable[[Params], Params] | None = None
    # check_pretrained(): raises InputError for what would make `pretrained` fail. Called before a
    # new run leaves anything behind.
    check_pretrained: Callable[[], None] | None = None
    # Workdir of a finished run, whose best parameters the first stage begins with; "" = of `init`
    start: str = ""
    # Stored with every checkpoint; one of another value is refused
    identities: tuple[Identity, ...] = ()
    # Full names, as "embedding/item_id/embedding", of the parameters whose rows (the first axis) a
    # mesh with an axis "model" splits, for tables that are too large for one device; all others
    # are a full copy on each. Functions see whole tables, and should look rows up by their ids.
    split_tables: tuple[str, ...] = ()
    # Rows of those tables, by name, to which rows of zeros were added to split them over a mesh
    rows: Mapping[str, int] = MappingProxyType({})
    compute_dtype: str = "float32"  # of activations, for result files


def ranks_catalogue(task: Task, served: str) -> bool:
    """Whether the full ranking of "rec" or "search" can be had from a method."""
    return served in task.tasks and (task.score_catalogue is not None or served in task.retrievers)


def judge_as(task: Task, stage: Stage) -> Task:
    """The task as a stage is validated: with the stage's own scores where it has them."""
    return task._replace(
        score=stage.score or task.score,
        score_catalogue=stage.score_catalogue or task.score_catalogue,
    )
