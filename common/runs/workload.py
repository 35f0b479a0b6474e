"""A workload: random work of a chosen size, which a method's speed is measured by.

`python -m launch.bench NAME` times the programs of the method of that name on its workload: the
step of each stage, and scoring. No dataset is read and nothing is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from common.training.task import Params, Task

SCORE = "score"  # the load of `Task.score`; every other one has the name of a stage


class Load(NamedTuple):
    """What one program runs on: the step of a stage, or scoring."""

    batch: Mapping[str, np.ndarray]  # host arrays, as `Stage.loss` or `Task.score` reads them
    rows: int  # of the batch, as a rate counts them
    # Operations of a row, forward and, in a step, backward: the matrix products that the formulas
    # ask for, counted by hand. None = not counted
    flop: float | None = None
    tokens: int = 0  # of a row; 0 = the method reads none


class Reference(NamedTuple):
    """Another implementation of the same programs, which is timed beside them."""

    name: str  # "torch"
    versions: str
    calls: Mapping[str, Callable[[], None]]  # by the name of a load, on as many rows
    settings: Mapping[str, Any] = MappingProxyType({})  # what it was run with; JSON-able
    # Returns when all that was called is done, on a device that works beside the host
    wait: Callable[[], None] = lambda: None


class Work(NamedTuple):
    """A task and what its programs run on: all that they are compiled and called with."""

    task: Task
    loads: Mapping[str, Load]  # by the name of a stage, and `SCORE`
    words: str  # what it is, in one line
    facts: Mapping[str, Any] = MappingProxyType({})  # for the report, beside the sizes; JSON-able
    dtype: str = "float32"  # of the matrix products
    parts: Callable[[Params], Mapping[str, Params]] = dict  # of the parameters, to be counted
    reference: Reference | None = None


class Workload(NamedTuple):
    """How the work of a method is made."""

    sizes: Any  # a frozen dataclass; each field that `setting` has made is a flag
    # open(sizes) -> the work. Raises InputError for sizes that do not go together.
    open: Callable[[Any], Work]
    blocks: int = 5  # that are timed, unless it is asked otherwise
    steps: int = 1  # of a block
