"""What GenSR did for single users: how much each candidate took from which item of the history.

Shapes: [B] batch  [C] candidates  [N] joint history  [R] retrieved items
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.names import Names
from common.ranking.blind import (
    PLACES,
    POSITIVE,
    STAND_IN,
    blank_target,
    hide_target,
    score_shuffled,
    take_hidden,
)
from common.ranking.catalogue import split_catalogue
from common.ranking.plans import make_plan
from common.ranking.rerank import (
    Reranked,
    Shortlist,
    bind_finder,
    make_shortlist,
    rerank_catalogue,
)
from common.ranking.rows import RankedRows
from common.report.tables import format_age, format_time
from common.runs.cases import Case, Explanation, describe_case
from common.runs.trained import Trained
from common.training.mesh import put_batch

SHOWN = 3  # recommended items whose weights are told, beside the target's


def explain_filter(
    trained: Trained, mesh: Mesh, names: Names, filter_seen: str, count: int
) -> Callable[[Case], Explanation]:
    """A function from a case to what is written about it; count: items recommended."""
    task, params, constants = trained
    assert task.explain is not None
    weigh = jax.jit(task.explain)

    @partial(jax.jit, static_argnums=(0, 1))
    def rank(
        served: str, n_items: int, params: Any, constants: Any, batch: Any, other: Any
    ) -> tuple[Shortlist, Reranked]:
        batch = dict(batch)
        hidden, retriever = take_hidden(batch), task.retrievers[served]
        score = partial(task.score, params, constants)
        with jax.default_matmul_precision("highest"):
            shortlist = make_shortlist(
                bind_finder(retriever, params, constants, batch, other),
                lambda items: score_shuffled(score, batch, items, hidden[PLACES]),
                retriever.count,
                hidden[POSITIVE],
                hidden["seen"],
                hidden[STAND_IN],
                split_catalogue(n_items, 2),
            )
        return shortlist, rerank_catalogue(shortlist, hidden[POSITIVE])

    def run(case: Case) -> Explanation:
        dataset, retriever = case.dataset, task.retrievers[case.task]
        rows, events = np.array([case.row]), dataset.events(case.task)
        ranked = RankedRows(rows, events.user[rows], events.target[rows], {})
        # Two rows, the second a pad: a product with one row rounds differently on CPU.
        plan = make_plan(
            task, dataset, case.task, ranked, True,
            batch_size=2, filter_seen=filter_seen,
        )  # fmt: skip
        host, beside, other = plan.batches[0], plan.others[0], None
        if beside is not None and retriever.other is not None:
            beside = blank_target(beside, dataset.n_items)
            other = (retriever.other.params, retriever.other.constants, put_batch(mesh, beside))
        blind = hide_target(host, plan.orders[0], dataset.n_items)
        found = jax.device_get(
            rank(case.task, dataset.n_items, params, constants, put_batch(mesh, blind), other)
        )
        short, again = jax.tree.map(lambda array: array[0], found)
        if again.final.broken:
            raise FloatingPointError(
                f"{case.task}.parquet, row {case.row + 1}: a score is not finite; look for a "
                "diverged loss"
            )
        target = _rank_target(case, names, short, again, int(plan.mean_size))
        recommended = _list_top(names, short)
        best = [item for item in recommended if item["item"] != host["target"][0]][:SHOWN]
        chosen = np.zeros((2, SHOWN), np.int32)
        chosen[:, : len(best)] = [item["item"] for item in best]
        del host["seen"], host[PLACES]
        shown = put_batch(mesh, {**host, "negatives": chosen})
        weights = jax.device_get(weigh(params, constants, shown))
        columns = ([] if target is None else [0]) + [1 + place for place in range(len(best))]
        query = int(host["query"][0])
        return {
            **describe_case(case, task.name),
            "task": case.task,
            "time": format_time(case.now, case.resolution),
            "query": names.query(query) if query else None,
            "target": target,
            "found": {"by": retriever.name, "count": retriever.count, **retriever.origin},
            "candidates": ([] if target is None else [{"role": "target", **target}])
            + [{"role": "recommended", **item} for item in best],
            **_tell_history(case, names, host, weights, columns),
            "recommendations": recommended[:count],
        }

    return run


def _rank_target(
    case: Case, names: Names, short: Shortlist, again: Reranked, ranked: int
) -> Explanation | None:
    """Where the true target stands in the full ranking; None for "next"."""
    target = int(case.dataset.events(case.task).target[case.row])
    if target == 0:
        return None
    low, first = 1 + int(again.final.greater), 1 + int(again.retriever.greater)
    return names.item(target) | {
        "time": format_time(case.now, case.resolution),
        "score": float(short.own),
        "rank": low,
        "rank_if_ties_lost": low + int(again.final.equal),
        "ranked_items": ranked,
        "found": bool((short.items == target).any()),
        "found_rank": first,  # by the retriever alone
    }


def _list_top(names: Names, short: Shortlist) -> list[Explanation]:
    """The items that were found in the order of the model's scores, best first."""
    real = np.flatnonzero(short.items)
    order = real[np.argsort(-short.scores[real], kind="stable")]
    return [
        {
            "rank": place,
            **names.item(int(short.items[i])),
            "score": float(short.scores[i]),
            "found_rank": int(i) + 1,
        }
        for place, i in enumerate(order, 1)
    ]


def _tell_history(
    case: Case,
    names: Names,
    row: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    columns: list[int],
) -> Explanation:
    """The items that the model reads, newest first, and what each candidate takes from them."""
    views = [name.removeprefix("alpha_") for name in weights if name.startswith("alpha_")]

    def shares(entry: int) -> Explanation:
        return {v: [float(w) for w in weights[f"alpha_{v}"][0, columns, entry]] for v in views}

    slots, clicks = row["rec_item"].shape[1], row["search_click"].shape[2]
    history = []
    for entry, place in enumerate(weights["history_place"][0]):
        if place < 0:
            continue
        if place < slots:
            item, age, query = row["rec_item"][0, place], row["rec_age_ms"][0, place], None
        else:
            search, click = divmod(int(place) - slots, clicks)
            item, age = row["search_click"][0, search, click], row["search_age_ms"][0, search]
            query = names.query(int(row["search_query"][0, search]))
        history.append(
            names.item(int(item))
            | {
                "service": "rec" if query is None else "search",
                "query": query,
                "time": format_time(case.now - int(age), case.resolution),
                "age": format_age(int(age), case.resolution),
                "age_ms": int(age),
                "weights": shares(entry + 1),
            }
        )
    return {"views": views, "history": history, "no_history": {"weights": shares(0)}}
