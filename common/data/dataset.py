"""A prepared dataset folder in memory: what every method, baseline and evaluator reads.

Ids are int32, dense, 0 = padding, in every table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data.events import RecEvents, SearchEvents
from common.data.timeline import Timeline, build_timeline


class CandidateList(NamedTuple):
    """A stored candidate list of one split part."""

    items: np.ndarray  # int32 [n, 1 + negatives]; column 0 is the positive; row i = split row i
    sha256: str  # of the array bytes, as in the manifest and in result files


@dataclass(frozen=True)
class Dataset:
    """One dataset folder with one split chosen. Made by `common.data.folder.load_dataset`."""

    path: Path
    manifest: Mapping[str, Any]
    split: str  # e.g. "leave_one_out_joint"
    history_order: str  # "time": strictly earlier ts; "source": strictly earlier (ts, seq)
    n_users: int  # real users, ids 1..n_users; likewise the next three
    n_items: int
    n_queries: int
    n_tokens: int
    rec: RecEvents
    search: SearchEvents
    rows: Mapping[tuple[str, str], np.ndarray]  # (task, part) -> int64 row numbers, ascending
    query_tokens: np.ndarray  # int32 [n_queries + 1, W] token ids, 0 pads at the end; row 0 zeros
    item_categories: np.ndarray  # int32 [n_items + 1, 4] category ids per level, 0 = none
    load_lists: Callable[[str, str], Mapping[str, CandidateList]]
    # load_lists(task, part) -> {"uniform99": CandidateList, ...}; checks the stored sha256

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def sha256(self) -> str:
        """The manifest's hash over all tables: `dataset.sha256` of result files."""
        return str(self.manifest["sha256"])

    @cached_property
    def timeline(self) -> Timeline:
        """What happened before each event; built when it is first asked for, and then kept.

        A copy with other events (`dataclasses.replace`) has its own.
        Raises InputError for a table that is not sorted.
        """
        return build_timeline(self.rec, self.search, self.n_users, self.history_order)

    def events(self, task: str) -> RecEvents | SearchEvents:
        """The event table of a task, "rec" or "search"."""
        return self.rec if task == "rec" else self.search
