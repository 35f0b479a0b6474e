"""What GenSR did for single users: how much each candidate took from which item of the history.

Shapes: [B] batch  [C] candidates  [N] joint history
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.batches import evaluation_source
from common.data.names import Names
from common.precision import exact_products
from common.ranking.top import make_ranker
from common.report.tables import format_age, format_time
from common.runs.cases import Case, Explanation, describe_case, list_items, tell_target
from common.runs.trained import Trained
from common.training.mesh import put_batch

SHOWN = 3  # recommended items whose weights are told, beside the target's


def explain_filter(
    trained: Trained, mesh: Mesh, names: Names, filter_seen: str, count: int
) -> Callable[[Case], Explanation]:
    """A function from a case to what is written about it; count: items recommended."""
    task, params, constants = trained
    assert task.explain is not None
    weigh = jax.jit(exact_products()(task.explain))
    rank = make_ranker(*trained, mesh, filter_seen=filter_seen)

    def run(case: Case) -> Explanation:
        dataset, retriever = case.dataset, task.retrievers[case.task]
        rows = np.array([case.row])
        top = rank(dataset, case.task, rows, retriever.count)
        target, recommended = tell_target(case, names, top), list_items(names, top)
        for item, place in zip(recommended, top.places[0], strict=False):
            item["found_rank"] = int(place)
        if target is not None:
            assert top.target.retriever is not None
            target["found"] = target["item"] in top.items[0]
            target["found_rank"] = 1 + int(top.target.retriever.greater[0])
        # Two rows, the second a pad: a product with one row rounds differently on CPU.
        view = replace(task.view, task=case.task)
        host = evaluation_source(dataset, view, rows, 2)[0]
        best = [item for item in recommended if item["item"] != host["target"][0]][:SHOWN]
        chosen = np.zeros((2, SHOWN), np.int32)
        chosen[:, : len(best)] = [item["item"] for item in best]
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
