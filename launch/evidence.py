"""The evidence figures of a trained model on data with planted truth."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from common.data.batches import evaluation_source
from common.data.dataset import Dataset
from common.data.timeline import Timeline
from common.ranking.evidence import EvidenceTable, evidence_report
from common.training.mesh import put_batch
from common.training.task import Constants, Params, Task


def weigh_evidence(
    task: Task,
    params: Params,
    constants: Constants,
    dataset: Dataset,
    timeline: Timeline,
    mesh: Mesh,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """Do the model's evidence weights point at the searches that were useful?

    Takes `mean_evidence` float32 [B, N + 1] of `task.explain` on the validation and test rows of
    the rec task (index 0, the null event, is left out) and returns `evidence_report`.
    """
    explain = task.explain
    if explain is None:
        raise ValueError(f"method {task.name} explains nothing")
    rows = np.union1d(dataset.rows["rec", "valid"], dataset.rows["rec", "test"])
    rows = rows[timeline.history_size("rec", rows) >= task.view.min_history]
    source = evaluation_source(dataset, timeline, task.view, rows, batch_size)
    weigh = jax.jit(lambda p, c, b: explain(p, c, b)["mean_evidence"])
    columns: list[EvidenceTable] = []
    for step in range(len(source)):
        batch = source[step]
        weights = np.asarray(weigh(params, constants, put_batch(mesh, batch)))[:, 1:]
        real = (batch["search_mask"] != 0) & (batch["valid"] != 0)[:, None]
        target = np.broadcast_to(batch["row"][:, None], real.shape)
        columns.append(EvidenceTable(target[real], batch["search_row"][real], weights[real]))
    table = EvidenceTable(*(np.concatenate(parts) for parts in zip(*columns, strict=True)))
    return evidence_report(dataset, timeline, table, seed)
