"""The random work that GenSR's speed is measured by: the stage `tune`, and scoring.

One list is a positive and four negatives; scoring takes lists of 100 candidates. A row is a pair of
a list and a candidate. `torch` times the T5 of the PyTorch reference on the same rows and lengths,
on the GPU where there is one: T5 alone, without views and filter.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from common.data.random_data import draw_batch, draw_dataset
from common.data.view import View
from common.platform import find_platform
from common.runs.workload import SCORE, Load, Work, Workload
from common.settings.fields import setting
from common.training.task import Task
from gensr_jax.cost import BACKWARD, count_forward
from gensr_jax.settings import LossSettings, ModelSettings, Train
from gensr_jax.t5 import SIZES
from gensr_jax.task import Collaborative, Texts, make_task

_SCORED = 100  # candidates of a list when scoring
_ITEMS = 5_000
_QUERIES = 500
_VIEW = View(rec_length=20, search_length=20, clicks=1, negatives=4)


@dataclass(frozen=True)
class Sizes:
    """How large model and batches are."""

    size: Literal["mini", "small", "base", "large"] = setting("base", "of T5")
    dtype: Literal["auto", "float32", "bfloat16"] = setting(
        "auto", "of activations; auto: float32 on a CPU, else bfloat16"
    )
    lists: int = setting(0, "lists of a training batch; 0 = 2 on a CPU, else 40", least=0)
    scored_lists: int = setting(
        0, "lists of 100 that are scored at once; 0 = 1 on a CPU, else 16", least=0
    )
    length: int = setting(110, "tokens of a prompt", least=16)
    torch: bool = setting(False, "time the PyTorch reference beside")


def open_work(sizes: Sizes) -> Work:
    """See `Workload.open`."""
    if sizes.torch:  # JAX would take three quarters of a GPU's memory for itself
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    on_cpu = find_platform() == "cpu"
    dtype = sizes.dtype if sizes.dtype != "auto" else "float32" if on_cpu else "bfloat16"
    lists = sizes.lists or (2 if on_cpu else 40)
    rng = np.random.default_rng(0)
    settings, task = make_random_task(rng, sizes.size, sizes.length, dtype, lists)

    def load(lists: int, candidates: int, passes: int) -> Load:
        flop = passes * count_forward(settings, sizes.length, candidates) / candidates
        batch = draw_lists(rng, lists, candidates - 1)
        return Load(batch, lists * candidates, flop, sizes.length)

    loads = {
        "tune": load(lists, 1 + _VIEW.negatives, 1 + BACKWARD),
        SCORE: load(sizes.scored_lists or (1 if on_cpu else 16), _SCORED, 1),
    }
    reference = None
    if sizes.torch:
        from gensr_jax.torch_reference import open_reference  # nobody else needs torch

        rows = {name: own.rows for name, own in loads.items()}
        reference = open_reference(settings.t5, sizes.length, rows)
    return Work(
        task,
        loads,
        f"T5 {sizes.size}, prompts of {sizes.length} tokens",
        facts={"prompt_length": sizes.length},
        dtype=dtype,
        parts=lambda params: params["model"],
        reference=reference,
    )


def make_random_task(
    rng: np.random.Generator, size: str, length: int, dtype: str, lists: int
) -> tuple[ModelSettings, Task]:
    """Settings and task of a model of that size with random titles, prompts and CF table."""
    t5 = replace(SIZES[size], dtype=dtype, full_head=False)
    words = min(t5.vocab_size, 32_000)
    settings = ModelSettings(t5=t5, n_items=_ITEMS, yes=3, no=4)
    tok = rng.integers(5, words, (_QUERIES + 1, length), dtype=np.int32)
    slot = np.full(tok.shape, -1, np.int8)
    places = np.linspace(2, length - 4, 4).astype(int)
    slot[:, places] = range(4)
    tok[:, places] = 0
    texts = Texts(
        title_head=rng.integers(5, words, (_ITEMS + 1, settings.title_length), dtype=np.int32),
        title_full=rng.integers(5, words, (_ITEMS + 1, 32), dtype=np.int32),
        prompt_tok=tok,
        prompt_slot=slot,
        prompt_mask=np.ones(tok.shape, np.bool_),
        rec_length=length,
    )
    table = rng.normal(size=(_ITEMS + 1, settings.cf_width)).astype(np.float32)
    train = Train(batch_size=lists, epochs=1, learning_rate=1e-4, clip_norm=1.0)
    task = make_task(settings, LossSettings(), train, _VIEW, texts, Collaborative(given=table))
    return settings, task


def draw_lists(rng: np.random.Generator, lists: int, negatives: int) -> dict[str, np.ndarray]:
    """A batch of lists of both tasks with full histories."""
    dataset = draw_dataset(rng, _ITEMS, _QUERIES)
    batch = draw_batch(rng, dataset, replace(_VIEW, negatives=negatives), lists, full=True)
    task = np.arange(lists) % 2
    query = task * rng.integers(1, _QUERIES + 1, lists)
    return batch | {"task": task.astype(np.uint8), "query": query.astype(np.int32)}


WORKLOAD = Workload(Sizes(), open_work)
