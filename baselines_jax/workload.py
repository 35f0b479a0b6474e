"""The random work that SASRec's speed is measured by: a step on packed rows, and scoring.

Every packed row is one user's whole window, so each of its events is a target; a row of the rate is
a target. Scoring takes lists of 100 candidates; a row is a list.

Shapes: [B] packed rows  [L] slots of a row  [G] targets
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from baselines_jax.sasrec import build
from baselines_jax.settings import Sasrec
from common.data.random_data import draw_batch, draw_dataset, draw_items
from common.runs.workload import SCORE, Load, Work, Workload
from common.settings.fields import setting

_SCORED = 100  # candidates of a list when scoring


@dataclass(frozen=True)
class Sizes:
    """How large model and data are."""

    batch: int = setting(32, "packed rows of a batch", least=1)
    length: int = setting(50, "events of a packed row, and of a history", least=1)
    items: int = setting(20_000, "items of the catalogue", least=2)
    width: int = setting(64, "width of the model, even", least=2)
    layers: int = setting(2, "of the transformer", least=1)
    lists: int = setting(512, "lists of 100 that are scored at once", least=1)


def open_work(sizes: Sizes) -> Work:
    """See `Workload.open`."""
    base = Sasrec()
    settings = replace(
        base,
        data=replace(base.data, rec_length=sizes.length),
        model=replace(base.model, width=sizes.width, layers=sizes.layers),
        train=replace(base.train, batch_size=sizes.batch),
    )
    rng = np.random.default_rng(0)
    dataset = draw_dataset(rng, sizes.items, queries=1)
    task = build(settings, dataset)
    view = replace(task.view, negatives=_SCORED - 1)
    target, scored = count_forward(sizes)
    loads = {
        "supervised": Load(draw_packed(rng, sizes), sizes.batch * sizes.length, 3 * target),
        SCORE: Load(draw_batch(rng, dataset, view, sizes.lists), sizes.lists, scored),
    }
    words = f"{sizes.items:,} items, {sizes.length} events a packed row"
    return Work(task, loads, words)


def draw_packed(rng: np.random.Generator, sizes: Sizes) -> dict[str, np.ndarray]:
    """A training batch as `common.data.sequences` has them, without the fields of the host."""
    shape, targets = (sizes.batch, sizes.length), sizes.batch * sizes.length
    return {
        "rec_item": draw_items(rng, sizes.items, shape),
        "segment": np.ones(shape, np.int32),
        "target": draw_items(rng, sizes.items, (targets,)),
        "reader": 1 + np.arange(targets, dtype=np.int32),
        "valid": np.ones(targets, np.uint8),
        "negatives": np.zeros((targets, 0), np.int32),
    }


def count_forward(sizes: Sizes) -> tuple[float, float]:
    """Operations of a forward pass for one target, with the exact softmax, and for one list.

    Matrix products only, two operations for a multiplication and its sum.
    """
    length, width = sizes.length, sizes.width
    encoder = 2.0 * sizes.layers * (12 * length * width**2 + 2 * length**2 * width)
    return encoder / length + 2.0 * sizes.items * width, encoder + 2.0 * _SCORED * width


WORKLOAD = Workload(Sizes(), open_work, steps=3)
