"""Judging a trained model on another dataset: `--mode=evaluate --evaluate_on=DIR`.

The model stays what it is: what its method makes of its own training rows, such as LightGCN's
graph or the neighbours of item-kNN, is still made of the dataset that it was trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.data.dataset import Dataset
from common.data.fingerprint import (
    check_parts,
    describe_data,
    find_elsewhere,
    find_other_lists,
    select_parts,
)
from common.data.folder import load_dataset


def open_other(place: str, dataset: Dataset) -> Dataset:
    """The dataset to judge on, with the same split by name.

    dataset: what the model was trained on
    Raises InputError for a folder that is none, that lacks the split, or whose users, items,
    queries or tokens are others: the ids would mean something else.
    """
    other = load_dataset(Path(place).expanduser(), dataset.split)
    theirs, ours = (
        select_parts(describe_data(data)["parts"], ["vocabulary"]) for data in (dataset, other)
    )
    check_parts(
        f"--evaluate_on={place}: has other ids than {dataset.path}",
        theirs,
        ours,
        "prepare both from files with the same users, items and queries",
    )
    return other


def tell_data(origin: Mapping[str, Any]) -> str:
    """A line where a model is judged on anything else than it was trained on; else "".

    origin: see `common.ranking.results.build_results`
    """
    if found := find_elsewhere(origin):
        return (
            f"judged on other data than it was trained on: {'; '.join(found)}; results.json says "
            "so, and launch.compare keeps it apart"
        )
    return find_other_lists(origin["trained_on"]["parts"], origin["evaluated_on"]["parts"])
