"""The project's own methods keep the contract that a run holds others to."""

from __future__ import annotations

import pytest

from common.data.folder import load_dataset
from common.runs.config_file import load_config_file
from common.runs.job import trace_task
from common.runs.methods import settle
from common.runs.tasks import build_task, take_batch


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("lcr_jax/configs/tiny.py", {}),
        ("lcr_jax/configs/tiny.py:no_reasoning", {"second.kind": "ranking", "second.train": "all"}),
        ("lcr_jax/configs/tiny.py", {"second.kind": "reinforce"}),
        ("gensr_jax/configs/tiny.py", {}),
        ("gensr_jax/configs/tiny.py:published", {}),
        ("gensr_jax/configs/tiny.py:twin", {}),
        ("baselines_jax/configs/sasrec_tiny.py", {}),
        ("baselines_jax/configs/item_knn_demo.py", {}),
    ],
)
def test_what_its_functions_give_has_the_shapes_of_the_contract(file, changes, tiny):
    config = load_config_file(file)
    config.update_from_flattened_dict(changes)
    settings, dataset = settle(config), load_dataset(tiny)
    task = build_task(settings, dataset)
    trace_task(settings, task, dataset, take_batch(task, dataset))
