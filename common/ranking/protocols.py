"""Evaluation: scores the rows of a split part under every protocol, side by side.

Protocols: each stored candidate list ("uniform99", "popularity99", "bm25_99") and "full", the
whole catalogue. One compiled call per batch scores all of them. Host batches are built once and
ranked again at each call, so evaluating every epoch neither gathers nor compiles anew.

Shapes: [B] batch  [n] ranked rows
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from common.data.dataset import Dataset
from common.data.view import HOST_FIELDS
from common.errors import InputError
from common.precision import exact_products
from common.ranking.blind import SEEN, put_back, take_apart
from common.ranking.catalogue import CHUNK_BYTES, Counts, split_catalogue
from common.ranking.metrics import mean_metrics
from common.ranking.plans import FULL, HostBatch, Plan, describe_plans, hide_targets, make_plan
from common.ranking.ranks import Ranks, RankTable, count_ranks, rank_table
from common.ranking.rerank import Reranked, measure_recall
from common.ranking.routes import Model, Traced, place_other
from common.ranking.rows import choose_rows
from common.ranking.seen import choose_filter
from common.training.task import Batch, Constants, Params, Task, ranks_catalogue

RETRIEVER = "retriever"


class Evaluation(NamedTuple):
    """The outcome of one evaluation."""

    ranks: Ranks
    # The protocol, as it goes into result files: part, history_order, filter_seen (never "auto"),
    # filter_reason, repeats {task: share of test targets in their own history}, min_history,
    # rows and users {task: n}, candidates {"rec/uniform99": sha256} and sizes {"rec/full": mean
    # number of ranked candidates, the positive among them}.
    details: dict[str, Any]
    lists_per_second: float  # ranked (task, protocol, row) lists, without compilation
    # By a retriever alone, ("rec", "full") -> ranks, where "full" is ranked again by the method;
    # details["retrieved"] then has what `measure_recall` says.
    retriever: Ranks = MappingProxyType({})


EditBatch = Callable[[HostBatch], HostBatch]
# Of one batch: scores of the listed candidates, and where the positives stand in the catalogue
Output = tuple[jax.Array | None, Counts | Reranked | None]


class Evaluator(Protocol):
    """Ranks the rows it was made for, with any parameters of its method."""

    def __call__(
        self, params: Params, constants: Constants, edit_batch: EditBatch | None = None
    ) -> Evaluation:
        """edit_batch: changes the histories of each host batch first (`common.data.edits`)."""
        ...


Validator = Callable[[Params, Constants], dict[str, float]]


def put_on_device(batch: HostBatch) -> Batch:
    """Copies a host batch to the default device, without the fields that only the host reads."""
    return {name: jnp.asarray(array) for name, array in batch.items() if name not in HOST_FIELDS}


def make_evaluator(
    task: Task,
    dataset: Dataset,
    *,
    part: str = "test",
    protocols: Sequence[str] | None = None,
    batch_size: int = 512,
    filter_seen: str = "history",
    chunk_bytes: int = CHUNK_BYTES,
    put_batch: Callable[[HostBatch], Batch] = put_on_device,
    fetch: Callable[[Any], Any] = jax.device_get,
) -> Evaluator:
    """Prepares the ranking of a split part; the result ranks any parameters of the method.

    part:        "valid" or "test"
    protocols:   None = all stored lists, and "full" where the method or its retriever can score
                 the catalogue
    batch_size:  rows per batch, over all devices; 1 is run as 2
    filter_seen: what "full" leaves out: "history", "train", "none" (see `find_seen`) or "auto"
        (see `choose_filter`)
    chunk_bytes: bound of one float32 score block of the full ranking, in bytes
    put_batch:   host batch -> device batch; must keep every field but HOST_FIELDS
    fetch:       tree of arrays of a batch's rows -> the same on the host, all rows
    The evaluator is a function (params, constants) -> Evaluation, see `Evaluator`. It raises
    FloatingPointError with task, row and item when a score is not finite.
    Raises InputError when there is nothing to rank or a protocol is unknown.
    """
    if dataset.n_items < 1:
        raise InputError(f"{dataset.path.name}, items.parquet: no items to rank; add items")
    # A product with one row takes another route on CPU and rounds differently.
    batch_size = max(batch_size, 2)
    chosen = choose_filter(dataset, filter_seen)
    plans = _make_plans(task, dataset, part, protocols, batch_size, chosen.name)
    details = describe_plans(plans, part, dataset.history_order, chosen, task.view.min_history)
    items = split_catalogue(dataset.n_items, batch_size, chunk_bytes)

    @partial(jax.jit, static_argnums=0)
    def rank_batch(
        served: str, params: Params, constants: Constants, batch: Batch, other: Model | None
    ) -> Output:
        rows = Traced(task, served, params, constants, take_apart(batch), other, items)
        shown, lists, counts = rows.blind.shown, None, None
        with exact_products():
            if shown["negatives"].shape[1]:
                lists = rows.score(shown)
            if rows.blind.seen is not None:
                counts = rows.count()
        return lists, counts

    def launch(
        name: str, params: Params, constants: Constants, batch: HostBatch, beside: HostBatch | None
    ) -> Output:
        # Compiled once for all tasks where it is no matter which of them it is.
        served = name if SEEN in batch and task.score_catalogue is None else ""
        other = place_other(task, name, beside, put_batch)
        return rank_batch(served, params, constants, put_batch(batch), other)

    compiled: set[tuple[str, Any]] = set()

    def evaluate_all(
        params: Params, constants: Constants, edit_batch: EditBatch | None = None
    ) -> Evaluation:
        pairs = {
            name: hide_targets(plan, dataset.n_items, edit_batch) for name, plan in plans.items()
        }
        run = {name: partial(launch, name, params, constants) for name in plans}
        for name in plans:  # compile outside of the timed part
            for pair in pairs[name]:
                shape = (name, tuple(array.shape for array in pair[0].values()))
                if shape not in compiled:
                    jax.block_until_ready(run[name](*pair))
                    compiled.add(shape)
        started = time.perf_counter()
        ranks: dict[tuple[str, str], RankTable] = {}
        for name, plan in plans.items():
            ranks.update(_collect(name, plan, _run_ahead(run[name], pairs[name], fetch)))
        seconds = time.perf_counter() - started
        first = {
            (name, FULL): ranks.pop((name, RETRIEVER))
            for name in plans
            if (name, RETRIEVER) in ranks
        }
        lists = sum(len(table.row) for table in ranks.values())
        recall = {"retrieved": measure_recall(task.retrievers, first)} if first else {}
        return Evaluation(ranks, details | recall, lists / seconds, first)

    return evaluate_all


def _make_plans(
    task: Task,
    dataset: Dataset,
    part: str,
    protocols: Sequence[str] | None,
    batch_size: int,
    filter_seen: str,
) -> dict[str, Plan]:
    """The plan of each task that the method serves. Raises InputError for an unknown protocol."""
    plans: dict[str, Plan] = {}
    known = set()
    for name in task.tasks:
        ranked = choose_rows(dataset, name, part, task.view.min_history, protocols)
        ranks_all = ranks_catalogue(task, name)
        full = ranks_all and (protocols is None or FULL in protocols)
        plans[name] = make_plan(
            task, dataset, name, ranked, full, batch_size=batch_size, filter_seen=filter_seen
        )
        known |= {*plans[name].columns, *([FULL] if ranks_all else [])}
    missing = sorted(set(known if protocols is None else protocols) - known)
    if missing or not known:
        raise InputError(
            f"{dataset.path.name}: no protocol {', '.join(missing) or 'at all'} for {part} rows "
            f"of method {task.name}; known: {', '.join(sorted(known)) or 'none'}"
        )
    return plans


def _run_ahead(
    run: Callable[..., Any], batches: Sequence[tuple[Any, Any]], fetch: Callable[[Any], Any]
) -> Iterator[Any]:
    """Results in order; the next batch is already on its way while the host reads the last."""
    ahead: Any = None
    for pair in batches:
        behind, ahead = ahead, run(*pair)
        if behind is not None:
            yield fetch(behind)
    yield fetch(ahead)


def _collect(name: str, plan: Plan, outputs: Iterator[Any]) -> dict[tuple[str, str], RankTable]:
    """Turns the outputs of all batches of a task into one rank table per protocol.

    outputs: as `Output`, on the host
    """
    counts: dict[str, list[tuple[Any, Any]]] = {FULL: []} if plan.full else {}
    counts |= {protocol: [] for protocol in plan.columns}
    for batch, order, (scores, catalogue) in zip(plan.batches, plan.orders, outputs, strict=True):
        real = batch["valid"] != 0
        rows = batch["row"][real]
        if scores is not None:
            scores = put_back(scores, order)[real]
            items = np.concatenate([batch["target"][:, None], batch["negatives"]], axis=1)[real]
            broken = np.argwhere(~np.isfinite(scores))
            if len(broken):
                row, column = broken[0]
                raise _no_number(name, rows[row], items[row, column])
            for protocol, columns in plan.columns.items():
                listed = np.concatenate([scores[:, :1], scores[:, 1:][:, columns]], axis=1)
                counts[protocol].append(count_ranks(listed))
        if catalogue is not None:
            first = None
            if isinstance(catalogue, Reranked):
                catalogue, first = catalogue
            broken_item = np.asarray(catalogue.broken)[real]
            if broken_item.any():
                row = int(np.argmax(broken_item != 0))
                raise _no_number(name, rows[row], broken_item[row])
            counts[FULL].append((catalogue.greater[real], catalogue.equal[real]))
            if first is not None:
                counts.setdefault(RETRIEVER, []).append((first.greater[real], first.equal[real]))
    tables = {}
    for protocol, parts in counts.items():
        greater, equal = (np.concatenate(column) for column in zip(*parts, strict=True))
        tables[name, protocol] = rank_table(plan.ranked.rows, plan.ranked.users, greater, equal)
    return tables


def _no_number(task: str, row: int, item: int) -> FloatingPointError:
    return FloatingPointError(
        f"{task}.parquet, row {int(row) + 1}: the score of item {int(item)} is not finite; look "
        f"for a diverged loss, or a division or logarithm of zero in the model"
    )


def evaluate(
    task: Task,
    params: Params,
    constants: Constants,
    dataset: Dataset,
    **options: Any,
) -> Evaluation:
    """Ranks one set of parameters; `options` and errors are those of `make_evaluator`."""
    return make_evaluator(task, dataset, **options)(params, constants)


def make_validator(task: Task, dataset: Dataset, **options: Any) -> Validator:
    """An evaluator of the validation rows that returns means only, for training loops.

    options: those of `make_evaluator`; `protocols` is best one or two of the stored lists.
    Returns (params, constants) -> {"rec/uniform99/NDCG@5": 0.0123, ..., "mean/...": ...}.
    """
    run = make_evaluator(task, dataset, **{"part": "valid", **options})
    return lambda params, constants: mean_metrics(run(params, constants).ranks)
