"""The random work that LCR's speed is measured by.

The literal configuration (d = 64, K = 3, one positive and four negatives, dot_mlp): the supervised
step and that of stage 2 (`reinforce`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from common.data.random_data import draw_batch, draw_dataset
from common.runs.workload import Load, Work, Workload
from common.settings.fields import setting
from common.settings.reading import as_values
from lcr_jax.from_config import build_task
from lcr_jax.settings import Settings


@dataclass(frozen=True)
class Sizes:
    """How large model and data are."""

    batch: int = setting(1112, "rows of a batch", least=2)
    history: int = setting(30, "rec events, and searches, of a history", least=1)
    items: int = setting(20_000, "items of the catalogue", least=2)
    queries: int = setting(5_000, "distinct queries", least=1)
    width: int = setting(64, "width of the model, even", least=2)
    reasoning: int = setting(3, "reasoning steps K", least=1)
    reinforce: bool = setting(True, "measure the step of stage 2 too")


def open_work(sizes: Sizes) -> Work:
    """See `Workload.open`."""
    base = Settings()
    settings = replace(
        base,
        data=replace(base.data, rec_length=sizes.history, search_length=sizes.history),
        model=replace(base.model, width=sizes.width),
        reasoner=replace(base.reasoner, steps=sizes.reasoning),
        train=replace(base.train, batch_size=sizes.batch),
        second=replace(base.second, kind="reinforce" if sizes.reinforce else "none"),
    )
    rng = np.random.default_rng(0)
    dataset = draw_dataset(rng, sizes.items, sizes.queries)
    task = build_task(settings, dataset)
    batch = draw_batch(rng, dataset, task.stages[-1].view, sizes.batch)
    forward = count_forward(settings, sizes.batch, sizes.items, sizes.queries)
    loads = {}
    for stage in task.stages:
        own = batch | {"negatives": batch["negatives"][:, : stage.view.negatives]}
        flop = 3 * forward if stage.name == "supervised" else None
        loads[stage.name] = Load(own, sizes.batch, flop)
    mean = {name: float(batch[f"{name}_mask"].sum(axis=1).mean()) for name in ("rec", "search")}
    return Work(
        task,
        loads,
        f"{sizes.items:,} items, {sizes.queries:,} queries, history {mean['rec']:.1f} + "
        f"{mean['search']:.1f} real, {sizes.history} + {sizes.history} padded",
        facts={
            "config": as_values(settings),
            "padded_length": {"rec": sizes.history, "search": sizes.history},
            "mean_length": mean,
        },
    )


def count_forward(settings: Settings, rows: int, items: int, queries: int) -> float:
    """Operations of a row's forward pass in the supervised step: matrix products only.

    Two for each multiplication with its addition. Padding counts as done: the program does it.
    For encoder=merged, scorer=dot_mlp, recommendation=bce and no option on, as the base has it.
    """
    d, k, candidates = settings.model.width, settings.reasoner.steps, 1 + settings.train.negatives
    m, n = settings.data.rec_length, settings.data.search_length + 1  # with the null event
    pairs = min(settings.loss.alignment_pairs, n - 1)
    others = settings.loss.alignment_negatives
    asked = rows * (m + (n - 1) * settings.data.clicks)
    mapped_items = items + 1 if items + 1 <= asked else asked + rows * (candidates + 1 + pairs)
    mapped_queries = queries + 1 if queries + 1 <= asked else rows * (n - 1 + pairs)
    products = {
        "item vectors": mapped_items * 2 * d * d / rows,
        "query vectors": mapped_queries * d * d / rows,
        "encoder": settings.model.layers * (12 * (m + n) * d * d + 2 * (m + n) ** 2 * d),
        "intent": 3 * d * d,
        "search memory": 2 * n * d * d,
        "reasoning": sum(16 * d * d + 2 * (j + n) * d for j in range(1, k + 1)),
        "target attention": candidates * (2 * d * d + 2 * (m + n) * d),
        "scorer": 200 * d + candidates * (3 * 200 * d + 200 * 80 + 80 + d),
        "contrastive": (k + 1) * d * d + k * rows * d,
        "alignment": pairs * (d * d + 2 * others * d) + others * d * d / rows,
    }
    return 2.0 * sum(products.values())


WORKLOAD = Workload(Sizes(), open_work, blocks=7, steps=3)
