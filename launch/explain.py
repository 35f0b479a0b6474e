"""What a trained model does for single users: evidence, recommendations, a picture.

`python -m launch.main --mode=explain ... --users=ID,ID` writes into WORKDIR/explain/, per user:
ID.json (everything), ID.txt (the same at a glance, also printed) and ID.png (a heat map).

Shapes: [B] batch  [K] reasoning steps  [H] heads  [N] searches  [n] catalogue items
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pyarrow.parquet as pq

from common.data.batches import evaluation_source
from common.data.dataset import Dataset
from common.data.events import RecEvents
from common.data.folder import load_dataset
from common.data.timeline import Timeline, build_timeline
from common.errors import InputError
from common.ranking.catalogue import split_catalogue
from common.ranking.seen import find_seen
from common.training.mesh import make_mesh, put_batch
from launch.config import check_workdir
from launch.explain_text import format_explanation
from launch.files import write_beside
from launch.methods import build_task
from launch.names import Names, User, resolve_users
from launch.pictures import draw_evidence
from launch.run import use_compilation_cache
from launch.tables import format_age, format_time
from launch.trained import Trained, load_model

TOP = 20
Explanation = dict[str, Any]


class Case(NamedTuple):
    """One recommendation to explain."""

    dataset: Dataset
    timeline: Timeline
    row: int  # of rec.parquet
    part: str  # "test", "valid", or "next": what would be recommended after the whole history


def explain_run(config: Any, workdir: Path, users: str) -> int:
    """Explains the newest target of each user, with the run's best parameters.

    users: text of `--users`, see `resolve_users`
    Returns 0. Raises InputError for bad input, before anything is written; for a missing
    matplotlib, after the texts are written.
    """
    use_compilation_cache()
    if not config.data.path:
        raise InputError("config.data.path: missing; give a folder made by launch.prepare")
    if not (workdir / "config.json").exists():
        raise InputError(f"{workdir}: no run to explain; train first, or give another --workdir")
    dataset = load_dataset(Path(config.data.path), config.data.split)
    chosen = resolve_users(dataset, users)
    task = build_task(config, dataset)
    if task.explain is None or task.score_catalogue is None or "rec" not in task.tasks:
        raise InputError(
            f"--mode=explain: the method {task.name} has no evidence to show; use a run of lcr"
        )
    check_workdir(workdir, config, dataset.sha256)
    timeline = build_timeline(dataset.rec, dataset.search, dataset.n_users, dataset.history_order)
    cases = [choose_case(dataset, timeline, user, task.view.min_history) for user in chosen]
    mesh = make_mesh(jax.devices()[:1])
    trained = load_model(task, workdir, config.seed, dataset, timeline, mesh)
    explain = make_explainer(trained, mesh, Names(dataset), config.eval.filter_seen)
    folder = workdir / "explain"
    folder.mkdir(exist_ok=True)
    pictures: list[tuple[Path, Explanation]] = []
    for user, case in zip(chosen, cases, strict=True):
        explanation = {"user": user.raw_id, "user_number": user.number, **explain(case)}
        text = format_explanation(explanation)
        print(text)
        path = folder / name_file(user)
        content = json.dumps(explanation, indent=1, ensure_ascii=False, allow_nan=False)
        write_beside(path.with_name(path.name + ".json"), content + "\n")
        write_beside(path.with_name(path.name + ".txt"), text)
        pictures.append((path.with_name(path.name + ".png"), explanation))
    for picture, explanation in pictures:
        draw_evidence(picture, explanation)
    print(f"explained {len(chosen)} user(s): {folder}", file=sys.stderr)
    return 0


def choose_case(dataset: Dataset, timeline: Timeline, user: User, min_history: int) -> Case:
    """The user's newest target of the test part; else of validation; else what comes next.

    Raises InputError for a user with fewer than `min_history` events in all.
    """
    for part in ("test", "valid"):
        rows = dataset.rows["rec", part]
        rows = rows[dataset.rec.user[rows] == user.number]
        rows = rows[timeline.history_size("rec", rows) >= min_history]
        if len(rows):
            return Case(dataset, timeline, int(rows[-1]), part)  # sorted by time
    events = np.diff(timeline.rec_off)[user.number] + np.diff(timeline.search_off)[user.number]
    if events < max(min_history, 1):
        raise InputError(
            f"--users: {user.raw_id} has {events} event(s), the model needs at least "
            f"{max(min_history, 1)}; name a user with a longer history"
        )
    return append_next(dataset, user.number)


def append_next(dataset: Dataset, user: int) -> Case:
    """A target without an item, 1 ms after the user's last event, in a copy of the dataset."""
    rec, search = dataset.rec, dataset.search
    row = int(np.searchsorted(rec.user, user, side="right"))
    last = max(int(events.ts[events.user == user].max(initial=0)) for events in (rec, search))
    event = {"user": user, "ts": last + 1, "seq": 0, "item": 0, "label": 1}
    columns = [np.insert(getattr(rec, name), row, event[name]) for name in RecEvents._fields]
    longer = dataclasses.replace(dataset, rec=RecEvents(*columns))
    timeline = build_timeline(longer.rec, search, dataset.n_users, dataset.history_order)
    return Case(longer, timeline, row, "next")


def make_explainer(
    trained: Trained, mesh: jax.sharding.Mesh, names: Names, filter_seen: str
) -> Callable[[Case], Explanation]:
    """A function from a case to what is written about it."""
    task, params, constants = trained
    assert task.explain is not None
    assert task.score_catalogue is not None
    explain, score = jax.jit(task.explain), jax.jit(task.score_catalogue)

    def run(case: Case) -> Explanation:
        dataset, timeline = case.dataset, case.timeline
        rows = np.array([case.row])
        # Two rows, the second a pad: a product with one row rounds differently on CPU.
        batch = evaluation_source(dataset, timeline, task.view, rows, 2)[0]
        device_batch = put_batch(mesh, batch)
        found = {k: np.asarray(v)[0] for k, v in explain(params, constants, device_batch).items()}
        if "evidence" not in found:
            raise InputError(
                f"--mode=explain: the method {task.name} gives searches no weights; "
                "use a run of lcr"
            )
        with jax.default_matmul_precision("highest"):
            chunks = [
                np.asarray(score(params, constants, device_batch, chunk), np.float32)[0]
                for chunk in split_catalogue(dataset.n_items, 2)
            ]
        scores = np.concatenate(chunks)[: dataset.n_items]
        if not np.isfinite(scores).all():
            raise FloatingPointError(
                f"rec.parquet, row {case.row + 1}: a score is not finite; look for a diverged loss"
            )
        seen = find_seen(dataset, timeline, "rec", rows, filter_seen).items
        row = {name: array[0] for name, array in batch.items()}
        resolution = str(dataset.manifest.get("time", {}).get("resolution", "ms"))
        now = int(timeline.rec_ts[timeline.find("rec", rows)[0]])
        return {
            "part": case.part,
            "dataset": {"name": dataset.name, "sha256": dataset.sha256},
            "split": dataset.split,
            "method": task.name,
            "target": _rank_target(case, names, scores, seen, format_time(now, resolution)),
            "history": _tell_history(row, names, now, resolution),
            **_tell_evidence(row, dataset, names, found, now, resolution),
            "recommendations": _list_top(names, scores, seen),
        }

    return run


def name_file(user: User) -> str:
    """A file name: the raw id, with the dense id where the raw one has unusual characters."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", user.raw_id).lstrip(".")
    return safe if safe == user.raw_id else f"{safe}-{user.number}"


def _rank_target(
    case: Case, names: Names, scores: np.ndarray, seen: np.ndarray, time: str
) -> Explanation | None:
    """Where the true target stands among the items that are not left out; None for "next"."""
    target = int(case.dataset.rec.item[case.row])
    if target == 0:
        return None
    own = scores[target - 1]
    others = np.ones(len(scores), bool)
    others[seen - 1] = others[target - 1] = False
    low = 1 + int((scores[others] > own).sum())
    return names.item(target) | {
        "time": time,
        "score": float(own),
        "rank": low,
        "rank_if_ties_lost": low + int((scores[others] == own).sum()),
        "ranked_items": int(others.sum()) + 1,
    }


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


def _list_top(names: Names, scores: np.ndarray, seen: np.ndarray) -> list[Explanation]:
    """The items that would be recommended, best first."""
    ranked = scores.copy()
    ranked[seen - 1] = -np.inf
    best = np.argsort(-ranked, kind="stable")[:TOP]
    return [
        {"rank": place, **names.item(int(i) + 1), "score": float(scores[i])}
        for place, i in enumerate(best, 1)
        if np.isfinite(ranked[i])
    ]
