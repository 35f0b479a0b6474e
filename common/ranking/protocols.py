"""Evaluation: scores the rows of a split part under every protocol, side by side.

Protocols: each stored candidate list ("uniform99", "popularity99", "bm25_99") and "full", the
whole catalogue. One compiled call per batch scores all of them. Host batches are built once and
ranked again at each call, so evaluating every epoch neither gathers nor compiles anew.

Shapes: [B] batch  [n] ranked rows  [F] filtered items per row
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from common.data.batches import evaluation_source
from common.data.dataset import Dataset
from common.data.timeline import Timeline
from common.data.view import HOST_FIELDS
from common.errors import InputError
from common.ranking.catalogue import CHUNK_BYTES, Counts, count_catalogue, split_catalogue
from common.ranking.metrics import mean_metrics
from common.ranking.ranks import Ranks, RankTable, count_ranks, rank_table
from common.ranking.rerank import Reranked, measure_recall, rerank_catalogue
from common.ranking.rows import RankedRows, choose_rows
from common.ranking.seen import find_seen, pad_seen
from common.training.task import Batch, Constants, Params, Task

FULL, RETRIEVER = "full", "retriever"


class Evaluation(NamedTuple):
    """The outcome of one evaluation."""

    ranks: Ranks
    # The protocol, as it goes into result files: part, history_order, filter_seen, min_history,
    # rows {task: n}, candidates {"rec/uniform99": sha256} and sizes {"rec/full": mean number of
    # ranked candidates, the positive among them}.
    details: dict[str, Any]
    lists_per_second: float  # ranked (task, protocol, row) lists, without compilation
    # By a retriever alone, ("rec", "full") -> ranks, where "full" is ranked again by the method;
    # details["retrieved"] then has {"rec/full": {"count": items, "recall": share of positives}}.
    retriever: Ranks = MappingProxyType({})


class _Plan(NamedTuple):
    """Everything of one task that does not depend on the parameters."""

    ranked: RankedRows
    batches: list[dict[str, np.ndarray]]  # with "seen" int32 [B, F] where `full` is ranked
    columns: dict[str, slice]  # protocol -> its negatives in batch["negatives"]
    full: bool
    mean_size: float  # of the full ranking


EditBatch = Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Evaluator(Protocol):
    """Ranks the rows it was made for, with any parameters of its method."""

    def __call__(
        self, params: Params, constants: Constants, edit_batch: EditBatch | None = None
    ) -> Evaluation:
        """edit_batch: changes the histories of each host batch first (`common.data.edits`)."""
        ...


Validator = Callable[[Params, Constants], dict[str, float]]


def put_on_device(batch: dict[str, np.ndarray]) -> Batch:
    """Copies a host batch to the default device, without the fields that only the host reads."""
    return {name: jnp.asarray(array) for name, array in batch.items() if name not in HOST_FIELDS}


def make_evaluator(
    task: Task,
    dataset: Dataset,
    timeline: Timeline,
    *,
    part: str = "test",
    protocols: Sequence[str] | None = None,
    batch_size: int = 512,
    filter_seen: str = "history",
    chunk_bytes: int = CHUNK_BYTES,
    put_batch: Callable[[dict[str, np.ndarray]], Batch] = put_on_device,
) -> Evaluator:
    """Prepares the ranking of a split part; the result ranks any parameters of the method.

    part:        "valid" or "test"
    protocols:   None = all stored lists, and "full" where the method or its retriever can score
                 the catalogue
    batch_size:  rows per batch, over all devices; 1 is run as 2
    filter_seen: what "full" leaves out: "history", "train" or "none" (see `find_seen`)
    chunk_bytes: bound of one float32 score block of the full ranking, in bytes
    put_batch:   host batch -> device batch; must keep every field but HOST_FIELDS
    The evaluator is a function (params, constants) -> Evaluation, see `Evaluator`. It raises
    FloatingPointError with task, row and item when a score is not finite.
    Raises InputError when there is nothing to rank or a protocol is unknown.
    """
    if dataset.n_items < 1:
        raise InputError(f"{dataset.path.name}, items.parquet: no items to rank; add items")
    # A product with one row takes another route on CPU and rounds differently.
    batch_size = max(batch_size, 2)
    score_all = task.score_catalogue
    can_full = score_all is not None or task.retriever is not None
    plans: dict[str, _Plan] = {}
    for name in task.tasks:
        ranked = choose_rows(dataset, timeline, name, part, task.view.min_history, protocols)
        full = can_full and (protocols is None or FULL in protocols)
        plans[name] = _plan(
            task,
            dataset,
            timeline,
            name,
            ranked,
            full,
            batch_size=batch_size,
            filter_seen=filter_seen,
        )
    known = {FULL} if can_full else set()
    known |= {name for plan in plans.values() for name in plan.columns}
    missing = sorted(set(known if protocols is None else protocols) - known)
    if missing or not known:
        raise InputError(
            f"{dataset.path.name}: no protocol {', '.join(missing) or 'at all'} for {part} rows "
            f"of method {task.name}; known: {', '.join(sorted(known)) or 'none'}"
        )

    items = split_catalogue(dataset.n_items, batch_size, chunk_bytes)

    @jax.jit
    def rank_batch(
        params: Params, constants: Constants, batch: Batch
    ) -> tuple[jax.Array | None, Counts | Reranked | None]:
        batch = dict(batch)
        seen = batch.pop("seen", None)
        scores: jax.Array | None = None
        counts: Counts | Reranked | None = None
        with jax.default_matmul_precision("highest"):
            if batch["negatives"].shape[1]:
                scores = task.score(params, constants, batch).astype(jnp.float32)
            if seen is not None and score_all is None:
                counts = rerank_catalogue(task, params, constants, batch, seen, items)
            elif seen is not None and score_all is not None:
                counts = count_catalogue(
                    lambda chunk: score_all(params, constants, batch, chunk),
                    batch["target"],
                    seen,
                    items,
                )
        return scores, counts

    details = _describe(plans, part, timeline.history_order, filter_seen, task.view.min_history)
    compiled: set[tuple[str, Any]] = set()

    def evaluate_all(
        params: Params, constants: Constants, edit_batch: EditBatch | None = None
    ) -> Evaluation:
        edited = {
            name: [edit_batch(batch) for batch in plan.batches] if edit_batch else plan.batches
            for name, plan in plans.items()
        }
        for name, batches in edited.items():  # compile outside of the timed part
            for batch in batches:
                shape = (name, tuple(array.shape for array in batch.values()))
                if shape not in compiled:
                    jax.block_until_ready(rank_batch(params, constants, put_batch(batch)))
                    compiled.add(shape)
        started = time.perf_counter()
        ranks: dict[tuple[str, str], RankTable] = {}
        for name, plan in plans.items():
            outputs = _run_ahead(
                lambda batch: rank_batch(params, constants, put_batch(batch)), edited[name]
            )
            ranks.update(_collect(name, plan, outputs))
        seconds = time.perf_counter() - started
        found = {
            (name, FULL): ranks.pop((name, RETRIEVER))
            for name in plans
            if (name, RETRIEVER) in ranks
        }
        lists = sum(len(table.row) for table in ranks.values())
        recall = {"retrieved": measure_recall(task, found)} if found else {}
        return Evaluation(ranks, details | recall, lists / seconds, found)

    return evaluate_all


def _plan(
    task: Task,
    dataset: Dataset,
    timeline: Timeline,
    name: str,
    ranked: RankedRows,
    full: bool,
    *,
    batch_size: int,
    filter_seen: str,
) -> _Plan:
    """Builds the host batches of one task."""
    columns, begin = {}, 0
    for protocol, stored in ranked.lists.items():
        columns[protocol] = slice(begin, begin + stored.items.shape[1] - 1)
        begin = columns[protocol].stop
    # Candidates come in multiples of 8, filled up with the target: measured on CPU, the columns
    # beyond are multiplied in another order, and equal items would no longer tie to the last bit.
    filler = np.repeat(ranked.targets[:, None], -(begin + 1) % 8 if begin else 0, axis=1)
    negatives = np.concatenate(
        [stored.items[:, 1:] for stored in ranked.lists.values()] + [filler], axis=1
    )
    view = dataclasses.replace(task.view, task=name)
    source = evaluation_source(dataset, timeline, view, ranked.rows, batch_size, negatives)
    batches = [dict(source[index]) for index in range(len(source))]
    mean_size = 0.0
    if full:
        seen = find_seen(dataset, timeline, name, ranked.rows, filter_seen)
        mean_size = dataset.n_items - len(seen.items) / len(ranked.rows)
        for index, batch in enumerate(batches):
            begin = index * batch_size
            end = min(begin + batch_size, len(ranked.rows))
            batch["seen"] = pad_seen(seen, begin, end, batch_size)
    return _Plan(ranked, batches, columns, full, mean_size)


def _run_ahead(run: Callable[[Any], Any], batches: Sequence[Any]) -> Iterator[Any]:
    """Results in order; the next batch is already on its way while the host reads the last."""
    ahead: Any = None
    for batch in batches:
        behind, ahead = ahead, run(batch)
        if behind is not None:
            yield jax.device_get(behind)
    yield jax.device_get(ahead)


def _collect(
    name: str, plan: _Plan, outputs: Iterator[tuple[np.ndarray | None, Counts | Reranked | None]]
) -> dict[tuple[str, str], RankTable]:
    """Turns the outputs of all batches of a task into one rank table per protocol."""
    counts: dict[str, list[tuple[Any, Any]]] = {FULL: []} if plan.full else {}
    counts |= {protocol: [] for protocol in plan.columns}
    for batch, (scores, catalogue) in zip(plan.batches, outputs, strict=True):
        real = batch["valid"] != 0
        rows = batch["row"][real]
        if scores is not None:
            scores = scores[real]
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


def _describe(
    plans: Mapping[str, _Plan], part: str, history_order: str, filter_seen: str, min_history: int
) -> dict[str, Any]:
    """The protocol as result files carry it."""
    candidates, sizes = {}, {}
    for task, plan in plans.items():
        if plan.full:
            sizes[f"{task}/{FULL}"] = plan.mean_size
        for name, stored in plan.ranked.lists.items():
            candidates[f"{task}/{name}"] = stored.sha256
            sizes[f"{task}/{name}"] = float(stored.items.shape[1])
    return {
        "part": part,
        "history_order": history_order,
        "filter_seen": filter_seen,
        "min_history": min_history,
        "rows": {task: len(plan.ranked.rows) for task, plan in plans.items()},
        "candidates": candidates,
        "sizes": sizes,
    }


def evaluate(
    task: Task,
    params: Params,
    constants: Constants,
    dataset: Dataset,
    timeline: Timeline,
    **options: Any,
) -> Evaluation:
    """Ranks one set of parameters; `options` and errors are those of `make_evaluator`."""
    return make_evaluator(task, dataset, timeline, **options)(params, constants)


def make_validator(task: Task, dataset: Dataset, timeline: Timeline, **options: Any) -> Validator:
    """An evaluator of the validation rows that returns means only, for training loops.

    options: those of `make_evaluator`; `protocols` is best one or two of the stored lists.
    Returns (params, constants) -> {"rec/uniform99/NDCG@5": 0.0123, ..., "mean/...": ...}.
    """
    run = make_evaluator(task, dataset, timeline, **{"part": "valid", **options})
    return lambda params, constants: mean_metrics(run(params, constants).ranks)
