"""A finished run in the hand: its results, rankings and explanations, without flags."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pyarrow as pa
from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.data.events import TASKS
from common.data.fingerprint import check_parts, describe_data, select_parts
from common.data.folder import load_dataset
from common.data.names import Names, User, find_users
from common.errors import InputError
from common.files import take_path
from common.ranking.results import read_results
from common.ranking.seen import choose_filter
from common.ranking.top import Ranker, make_ranker
from common.runs.cases import Case, append_targets, choose_case, find_case
from common.runs.explained import RANKED, Explained, wrap
from common.runs.folder import RunFolder, find_data, open_folder
from common.runs.methods import find_method
from common.runs.retriever import attach_retriever
from common.runs.tasks import build_task
from common.runs.trained import Trained, load_best
from common.runs.workdirs import is_finished
from common.training.mesh import make_mesh
from common.training.state import Progress
from common.training.task import ranks_catalogue


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, repr=False)
class FinishedRun:
    """A trained model with the data that it was trained on. Everything is read when it is needed.

    Made by `common.runs.open_run` and `common.runs.train`.
    """

    folder: RunFolder
    dataset: Dataset

    @property
    def workdir(self) -> Path:
        return self.folder.workdir

    def __repr__(self) -> str:
        step = f", step {self.step}" if "_best" in vars(self) else ""
        state = "" if self.finished else ", not finished"
        name = self.dataset.name
        return f"<FinishedRun {self.workdir}: {self.settings.method} on {name}{step}{state}>"

    @property
    def finished(self) -> bool:
        """Whether it was trained to its end and judged; until then its parameters are the best
        so far."""
        return is_finished(self.workdir)

    @property
    def settings(self) -> Any:
        """The settings of its method, a frozen tree."""
        return self.folder.config

    @property
    def trained_on(self) -> Mapping[str, Any]:
        """The dataset's name, split and the hashes of its parts."""
        return self.folder.data

    @cached_property
    def mesh(self) -> Mesh:
        return make_mesh(jax.devices()[:1])

    @cached_property
    def _best(self) -> tuple[Trained, Progress | None]:
        data, settings = self.dataset, self.settings
        task = build_task(settings, data)
        task = attach_retriever(settings, task, data, self.mesh)
        return load_best(task, self.workdir, settings.seed, data, self.mesh)

    @property
    def model(self) -> Trained:
        """Its task with the best parameters and the constants."""
        return self._best[0]

    @property
    def step(self) -> int | None:
        """The step of the best parameters; None where nothing was trained."""
        progress = self._best[1]
        return None if progress is None else progress.global_step

    @cached_property
    def results(self) -> Mapping[str, Mapping[str, Mapping[str, Interval]]]:
        """Of results.json: task -> protocol -> metric -> figure.

        Raises InputError where the run was not judged.
        """
        path = self.workdir / "results.json"
        if not path.is_file():
            raise InputError(f"{path}: missing; evaluate the run with --mode=evaluate")
        return {
            task: {
                protocol: {m: Interval(**bounds) for m, bounds in table.items()}
                for protocol, table in protocols.items()
            }
            for task, protocols in read_results(path)["tasks"].items()
        }

    def rank(
        self,
        users: Sequence[str],
        task: str = "rec",
        count: int = 10,
        at: str | None = None,
    ) -> pa.Table:
        """The best items for some users.

        users: raw ids of the dataset's source, exactly as they stand there, or "#17" for the dense
               id 17; each user once
        task:  "rec", or "search", which ranks for the query of a stored search
        count: places, 1 or more; fewer come back where fewer items are left
        at:    "now", when all events are known (rec alone: a search needs a query); or "test",
               before the user's newest test target, else the newest of validation. None = "now"
               for rec, "test" for search
        Returns a table with a row per user and place: user, place (from 1), item (raw id), score,
        title (null where there is none), without the items that the run's filter_seen leaves out.
        Raises InputError for users who are not there, come twice or have too short a history, and
        for an argument that may not be.
        """
        if task not in TASKS:
            raise InputError(f"rank: task={task!r}; use 'rec' or 'search'")
        if at not in (None, "now", "test"):
            raise InputError(f"rank: at={at!r}; use 'now' or 'test'")
        if at == "now" and task == "search":
            raise InputError("rank: at='now': a search needs a query; use at='test', or task='rec'")
        _check_count("rank", count)
        chosen = self._find_users("rank", users)
        if task == "rec" and at != "test":
            dataset, rows = append_targets(self.dataset, np.array([user.number for user in chosen]))
        else:
            dataset, rows = self.dataset, self._find_rows(chosen, task)
        model = self.model.task
        if not ranks_catalogue(model, task):
            raise InputError(f"method {model.name}: does not rank the catalogue for {task}")
        found = self._ranker(dataset, task, rows, count)
        listed: list[dict[str, Any]] = []
        for user, items, scores in zip(chosen, found.items, found.scores, strict=True):
            for place, (item, score) in enumerate(zip(items, scores, strict=True), 1):
                if item:
                    named = self._names.item(int(item))
                    listed.append(
                        {
                            "user": user.raw_id,
                            "place": place,
                            "item": named["raw_id"],
                            "score": float(score),
                            "title": named["title"],
                        }
                    )
        return pa.Table.from_pylist(listed, schema=RANKED)

    def explain(self, users: Sequence[str], count: int = 10) -> list[Explained]:
        """What the model relied on for the newest target of each user, and for the newest search
        where it serves both tasks; as `--mode=explain` shows it.

        users: as of `rank`; count: items recommended, 1 or more
        Raises InputError for a method that has nothing to show, and as `rank`.
        """
        _check_count("explain", count)
        chosen = self._find_users("explain", users)
        explainer = find_method(self.settings.method).explain
        if explainer is None:
            raise InputError(f"method {self.settings.method}: has nothing to show")
        open_case, tell, draw = explainer()
        explain = open_case(self.model, self.mesh, self._names, self._left_out, count)
        least, explained = self.model.task.view.min_history, []
        for user in chosen:
            cases: list[Case | None] = [choose_case(self.dataset, user, least, "explain: users")]
            if "search" in self.model.task.tasks:
                cases.append(find_case(self.dataset, user, least, "search"))
            for case in filter(None, cases):
                content = {"user": user.raw_id, "user_number": user.number, **explain(case)}
                explained.append(wrap(user, case, content, tell(content), draw))
        return explained

    @cached_property
    def _ranker(self) -> Ranker:
        return make_ranker(*self.model, self.mesh, filter_seen=self._left_out)

    @cached_property
    def _left_out(self) -> str:
        asked = self.settings.eval.filter_seen
        return choose_filter(self.dataset, asked).name

    @cached_property
    def _names(self) -> Names:
        return Names(self.dataset)

    def _find_users(self, call: str, users: Any) -> list[User]:
        where = f"{call}: users"
        if isinstance(users, str | bytes) or not isinstance(users, Iterable):
            raise InputError(f"{where}={users!r}: is no list; give one, such as users=['u03']")
        ids = list(users)
        if not ids:
            raise InputError(f"{where}: names nobody; give ids, such as users=['u03']")
        for each in ids:
            if not isinstance(each, str):
                raise InputError(
                    f"{where}: {each!r} is no text; give raw ids, or '#17' for user 17"
                )
        found = find_users(self.dataset, ids, where)
        twice = [user.raw_id for user, times in Counter(found).items() if times > 1]
        if twice:
            raise InputError(f"{where}: {twice[0]} comes twice; name each user once")
        return found

    def _find_rows(self, users: list[User], task: str) -> np.ndarray:
        least, rows = self.model.task.view.min_history, []
        for user in users:
            case = find_case(self.dataset, user, least, task)
            if case is None:
                raise InputError(f"rank: {user.raw_id} has no {task} target; leave the user out")
            rows.append(case.row)
        return np.array(rows)


def open_run(workdir: str | Path, data: str | Path = "") -> FinishedRun:
    """A run that `launch.main` or `train` has made.

    data: the dataset folder, where it has moved
    One whose training has not come to its end is opened with a warning on stderr, see `finished`.

    >>> run = open_run("runs/tiny")
    >>> 0 < run.results["rec"]["full"]["NDCG@10"].value < 1
    True
    >>> run.rank(users=["u03"], count=3).column_names
    ['user', 'place', 'item', 'score', 'title']

    Raises InputError where there is no run, or its data are others.
    """
    place = take_path("open_run: workdir", workdir)
    given = take_path("open_run: data", data) if data != "" else ""
    folder = open_folder(place.name, place.resolve())
    path = find_data(folder.config, given, where=folder.workdir / "config.json", mend="data=DIR")
    dataset = load_dataset(path, folder.config.data.split)
    check_parts(
        f"{path}: is not what {workdir} was trained on",
        select_parts(folder.data["parts"]),
        select_parts(describe_data(dataset)["parts"]),
        "give that one as data=DIR",
    )
    run = FinishedRun(folder, dataset)
    if not run.finished:
        print(
            f"warning: {workdir}: not finished; its best parameters so far are used",
            file=sys.stderr,
        )
    return run


def _check_count(call: str, count: Any) -> None:
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InputError(f"{call}: count={count!r}: give a whole number of at least 1")
