"""What a trained model does for single users: what it looked at, recommendations, a picture.

`python -m launch.main --mode=explain ... --users=ID,ID` writes into WORKDIR/explain/, per user:
ID.json (everything), ID.txt (the same at a glance, also printed), ID.csv (what is recommended) and
ID.png (a heat map; not with --nopicture). Of a method that serves both tasks there is the same for
the newest search target, in explain/search/.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import jax

from common.data.fingerprint import describe_data
from common.data.folder import load_dataset
from common.data.names import Names, User, resolve_users
from common.errors import InputError
from common.files import make_folder, write_beside
from common.ranking.seen import choose_filter
from common.runs.cases import Explanation, choose_case, find_case
from common.runs.folder import check_workdir, find_data
from common.runs.methods import PLACES, find_method, settle
from common.runs.retriever import attach_retriever
from common.runs.run import use_compilation_cache
from common.runs.tasks import build_task
from common.runs.trained import load_model
from common.training.mesh import make_mesh
from common.training.task import ranks_catalogue


def explain_run(
    config: Any, workdir: Path, users: str, count: int = 20, picture: bool = True
) -> int:
    """Explains the newest targets of each user, with the run's best parameters.

    users: text of `--users`, see `resolve_users`; count: items recommended
    Returns 0. Raises InputError for bad input, before anything is written; for a missing
    matplotlib, after the texts are written.
    """
    use_compilation_cache()
    config = settle(config)
    path = find_data(config)
    if not (workdir / "config.json").exists():
        raise InputError(f"{workdir}: no run to explain; train first, or give another --workdir")
    dataset = load_dataset(path, config.data.split)
    chosen = resolve_users(dataset, users)
    task = build_task(config, dataset)
    method = find_method(config.method)
    if method.explain is None:
        known = [name for name in PLACES if find_method(name).explain]
        raise InputError(
            f"--mode=explain: the method {task.name} has nothing to show; use a run of "
            f"{' or '.join(known)}"
        )
    kind = method.explain()
    check_workdir(workdir, config, describe_data(dataset), evaluates=True)
    mesh = make_mesh(jax.devices()[:1])
    task = attach_retriever(config, task, dataset, mesh)
    if not ranks_catalogue(task, "rec"):
        raise InputError(
            "--mode=explain: nothing finds items of the catalogue for this run; give "
            "--config.retriever=WORKDIR, or raise config.eval.retrieve above 0"
        )
    least = task.view.min_history
    cases = [(user, choose_case(dataset, user, least)) for user in chosen]
    if ranks_catalogue(task, "search"):
        searches = ((user, find_case(dataset, user, least, "search")) for user in chosen)
        cases += [(user, case) for user, case in searches if case is not None]
    trained = load_model(task, workdir, config.seed, dataset, mesh)
    left_out = choose_filter(dataset, config.eval.filter_seen).name
    explain = kind.open(trained, mesh, Names(dataset), left_out, count)
    folder = workdir / "explain"
    pictures: list[tuple[Path, Explanation]] = []
    for user, case in cases:
        explanation = {"user": user.raw_id, "user_number": user.number, **explain(case)}
        text = kind.tell(explanation)
        print(text)
        place = folder if case.task == "rec" else folder / case.task
        make_folder(place)
        path = place / name_file(user)
        content = json.dumps(explanation, indent=1, ensure_ascii=False, allow_nan=False)
        write_beside(path.with_name(path.name + ".json"), content + "\n")
        write_beside(path.with_name(path.name + ".txt"), text)
        write_beside(path.with_name(path.name + ".csv"), _list_items(explanation))
        pictures.append((path.with_name(path.name + ".png"), explanation))
    for place, explanation in pictures if picture else ():
        kind.draw(place, explanation)
    print(f"explained {len(chosen)} user(s): {folder}", file=sys.stderr)
    return 0


def _list_items(explanation: Explanation) -> str:
    """The recommended items as CSV."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("place", "item", "score", "title"))
    for item in explanation["recommendations"]:
        writer.writerow((item["rank"], item["raw_id"], item["score"], item["title"]))
    return lines.getvalue()


def name_file(user: User) -> str:
    """A file name: the raw id, with the dense id where the raw one has unusual characters."""
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", user.raw_id).lstrip(".")
    return safe if safe == user.raw_id else f"{safe}-{user.number}"
