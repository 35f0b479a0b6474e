"""What LCR did for single users: the evidence that it took from each search.

Shapes: [B] batch  [K] reasoning steps  [H] heads  [N] searches
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
import pyarrow.parquet as pq
from jax.sharding import Mesh

from common.data.batches import evaluation_source
from common.data.dataset import Dataset
from common.data.names import Names
from common.precision import exact_products
from common.ranking.top import make_ranker
from common.report.tables import format_age, format_time
from common.runs.cases import Case, Explanation, describe_case, list_items, tell_target
from common.runs.trained import Trained
from common.training.mesh import put_batch


def explain_evidence(
    trained: Trained, mesh: Mesh, names: Names, filter_seen: str, count: int
) -> Callable[[Case], Explanation]:
    """A function from a case to what is written about it; count: items recommended."""
    task, params, constants = trained
    assert task.explain is not None
    explain = jax.jit(exact_products()(task.explain))
    rank = make_ranker(*trained, mesh, filter_seen=filter_seen)

    def run(case: Case) -> Explanation:
        dataset, rows = case.dataset, np.array([case.row])
        # Two rows, the second a pad: a product with one row rounds differently on CPU.
        batch = evaluation_source(dataset, task.view, rows, 2)[0]
        found = explain(params, constants, put_batch(mesh, batch))
        found = {name: np.asarray(array)[0] for name, array in found.items()}
        top = rank(dataset, case.task, rows, count)
        row = {name: array[0] for name, array in batch.items()}
        now, resolution = case.now, case.resolution
        return {
            **describe_case(case, task.name),
            "target": tell_target(case, names, top),
            "history": _tell_history(row, names, now, resolution),
            **_tell_evidence(row, dataset, names, found, now, resolution),
            "recommendations": list_items(names, top),
        }

    return run


def _tell_history(
    row: dict[str, np.ndarray], names: Names, now: int, resolution: str
) -> list[Explanation]:
    """The rec events that the model reads, oldest first."""
    return [
        names.item(int(item)) | {"time": format_time(now - int(age), resolution)}
        for item, age, real in zip(row["rec_item"], row["rec_age_ms"], row["rec_mask"], strict=True)
        if real
    ]


def _tell_evidence(
    row: dict[str, np.ndarray],
    dataset: Dataset,
    names: Names,
    found: dict[str, np.ndarray],
    now: int,
    resolution: str,
) -> Explanation:
    """The searches that the model reads, oldest first, and what it made of them."""
    steps = found["evidence"].mean(axis=1)  # [K, N + 1], mean over heads
    mean = found["mean_evidence"]
    made_up = pq.read_table(dataset.path / "search.parquet", columns=["synthetic_query"])[0]

    def weights(slot: int) -> Explanation:
        return {"steps": [float(w) for w in steps[:, slot]], "mean": float(mean[slot])}

    searches = []
    for slot in np.flatnonzero(row["search_mask"]):
        age, search = int(row["search_age_ms"][slot]), int(row["search_row"][slot])
        searches.append(
            {
                "query": names.query(int(row["search_query"][slot])),
                "query_made_up": bool(made_up[search].as_py()),  # a pseudo-query of the data
                "clicked": [names.item(int(i)) for i in row["search_click"][slot] if i],
                "time": format_time(now - age, resolution),
                "age": format_age(age, resolution),
                "age_ms": age,
                "evidence": weights(int(slot) + 1),
            }
        )
    return {
        "steps": len(steps),
        "searches": searches,
        "null_event": {"evidence": weights(0)},
        "gates": [float(g) for g in found["gates"]],
        "state_norms": [float(n) for n in found["state_norms"]],
    }
