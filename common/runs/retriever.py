"""A finished run of one method as the retriever of another: `--config.retriever=WORKDIR`.

Methods do not know each other, so this is where they meet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from common.data.dataset import Dataset
from common.data.fingerprint import check_parts, describe_data, select_parts
from common.errors import InputError
from common.runs.folder import open_folder
from common.runs.tasks import build_task, take_batch
from common.runs.trained import load_best
from common.runs.workdirs import is_finished
from common.training.sharding import pad_task
from common.training.task import Other, Retriever, Task


def attach_retriever(config: Any, task: Task, dataset: Dataset, mesh: Mesh) -> Task:
    """The task with the run of `config.retriever` as what finds the items of its full ranking.

    It finds them for the tasks that it serves itself; the others keep what they have. "" changes
    nothing, nor does a method whose configurations have no such key.
    Raises InputError where the run is not finished, is of other data or another split, or cannot
    rank the catalogue.
    """
    place = getattr(config, "retriever", "")
    if not place:
        return task
    where, workdir = f"config.retriever = {place}", Path(place).expanduser()
    if not config.eval.retrieve:
        raise InputError(f"{where}: finds nothing with config.eval.retrieve = 0; raise that")
    if not is_finished(workdir):
        raise InputError(f"{where}: is no finished run; train it to its end")
    run = open_folder("retriever", workdir)
    check_parts(
        f"{where}: was made on other data",
        run.data["parts"],
        select_parts(describe_data(dataset)["parts"]),
        "give a run on the same, or leave the key empty",
    )
    found = build_task(run.config, dataset)
    found = pad_task(found, mesh, take_batch(found, dataset))
    served = [name for name in task.tasks if name in found.tasks]
    if found.score_catalogue is None or not served:
        raise InputError(
            f"{where}: the method {found.name} does not rank the catalogue of "
            f"{' or '.join(task.tasks)}; give a run of one that does, such as lcr or sasrec"
        )
    trained, progress = load_best(found, workdir, run.config.seed, dataset, mesh)
    retriever = Retriever(
        name=found.name,
        score_catalogue=found.score_catalogue,
        count=config.eval.retrieve,
        other=Other(found.view, trained.params, trained.constants),
        origin={"run": place} | ({} if progress is None else {"step": progress.global_step}),
    )
    return task._replace(retrievers={**task.retrievers, **dict.fromkeys(served, retriever)})
