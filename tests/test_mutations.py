"""A byte changed anywhere in a dataset folder or a workdir: read as something, or one line.

Every JSON and .npy file, the ranks and the records of checkpoints are changed at places drawn from
a seed and at a few places of their form, and read by the functions that the commands read them
with. Nothing but InputError (CutShort for a checkpoint) may come of it.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from common.data.audit import audit_dataset
from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.loading import read_manifest
from common.data.readers.synthetic import generate
from common.errors import InputError
from common.ranking.metrics import METRICS
from common.ranking.ranks import rank_table, read_ranks, write_ranks
from common.ranking.results import read_results, write_results
from common.training.checkpoints import CutShort, check_sizes, read_record
from common.training.logbook import cut_lines
from common.training.state import Progress
from launch.config_keys import base_values
from launch.studies.record import read_record as read_lines
from launch.trained import open_folder

SPLIT = "leave_one_out_joint"
RANDOM = 25  # changes of each file


def mutate(content: bytes, rng: random.Random) -> Iterator[bytes]:
    """Changed copies: a bit flipped, a byte replaced, cut, a slice twice or gone; and set ones."""
    yield from (b"", b"null", b"[]", b"5", b"\xff", b"[" * 100_000, b'{"a":' * 100_000)
    yield content[: len(content) // 2]
    yield content + b"\0"
    yield content.replace(b"(", b"((((", 1)  # the shape in the header of a .npy file
    yield content.replace(b"<i8", b"<f8").replace(b"<i4", b"<f4")
    yield content.replace(b"<i8", b"<U2").replace(b"<i4", b"<U1")
    for _ in range(RANDOM):
        place, kind = rng.randrange(len(content)), rng.randrange(4)
        some = content[place : place + rng.randrange(1, 20)]
        if kind == 0:
            changed = bytes([content[place] ^ 1 << rng.randrange(8)])
            yield content[:place] + changed + content[place + 1 :]
        elif kind == 1:
            changed = bytes([rng.choice(b'{}[]",:0-9e.n\\\xff\0(')])
            yield content[:place] + changed + content[place + 1 :]
        elif kind == 2:
            yield content[:place] + some + content[place:]
        else:
            yield content[:place] + content[place + len(some) :]


def replace_values(tree: object) -> Iterator[object]:
    """Copies of a JSON value in which one value is of another kind, or a key is gone."""
    yield from (None, [], 5, "x", {}, -1, [["x"]], True)
    if isinstance(tree, dict):
        for key in list(tree)[:12]:  # of many alike, some
            yield {name: value for name, value in tree.items() if name != key}
            for changed in replace_values(tree[key]):
                yield tree | {key: changed}


def refuse_or_read(read: Callable[[], object]) -> None:
    """Nothing but one line may come of it."""
    line = ""
    try:
        read()
    except (InputError, CutShort) as error:
        line = str(error)
    assert "\n" not in line


def check_reader(path: Path, read: Callable[[], object], seed: int = 0) -> None:
    """Raises what a changed file gives rise to, save for InputError and CutShort."""
    content = path.read_bytes()
    changes = list(mutate(content, random.Random(f"{path.name} {seed}")))
    if path.suffix == ".json" or path.name == "metadata":
        trees = list(replace_values(json.loads(content)))
        changes += [json.dumps(tree).encode() for tree in trees]
    for number, changed in enumerate(changes):
        path.write_bytes(changed)
        try:
            refuse_or_read(read)
        except Exception as error:
            shown = changed if len(changed) < 3000 else changed[:300]
            error.add_note(f"{path.name}, change {number}: {shown!r}")
            raise
    path.write_bytes(content)
    read()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    settings = PrepareSettings(splits=(SPLIT, "global_time"), negatives=5)
    write_dataset(path, generate("tiny", seed=0), settings)
    return path


@pytest.fixture
def copy(data, tmp_path):
    return Path(shutil.copytree(data, tmp_path / "data"))


def audit(folder: Path) -> None:
    for split in read_manifest(folder)["splits"]:
        audit_dataset(load_dataset(folder, split, verify=False))


def load(folder: Path) -> None:
    dataset = load_dataset(folder, SPLIT)
    for task in ("rec", "search"):
        for part in ("valid", "test"):
            dataset.load_lists(task, part)


def test_the_manifest(copy):
    check_reader(copy / "dataset.json", lambda: read_manifest(copy))


def test_the_manifest_of_a_loaded_dataset(copy):
    path = copy / "dataset.json"
    manifest = json.loads(path.read_text())
    for key in ("splits", "candidates", "tables", "vocab", "time", "history_order", "notes"):
        for other in (None, 5, [], {}, "x", {"a": None}, {SPLIT: None}, {SPLIT: {"files": None}}):
            path.write_text(json.dumps(manifest | {key: other}))
            for read in (load, audit):
                refuse_or_read(partial(read, copy))


@pytest.mark.parametrize(
    "name",
    [f"split/{SPLIT}/rec_test.npy", f"split/{SPLIT}/search_train.npy",
     f"cand/{SPLIT}.uniform5/rec_test.npy"],
)  # fmt: skip
@pytest.mark.parametrize("read", [load, audit], ids=["load", "audit"])
def test_arrays_of_a_dataset(copy, name, read):
    check_reader(copy / name, lambda: read(copy))


@pytest.mark.parametrize("name", ["users", "rec", "search"])
def test_tables_of_a_dataset(copy, name):
    check_reader(copy / f"{name}.parquet", lambda: load(copy))


def test_results_and_ranks(tmp_path):
    bounds = {name: {"value": 0.5, "low": 0.25, "high": 0.75} for name in METRICS}
    results = {
        "schema": 1, "dataset": {"name": "a", "sha256": "b"}, "split": "c", "seed": 0,
        "tasks": {"rec": {"full": bounds}}, "sanity": {"random": {"rec": {"full": bounds}}},
        "ties": {"rate": 0.0}, "wall_seconds": 1.0,
        "speed": {"train_examples_per_second": None, "eval_lists_per_second": 1.0},
    }  # fmt: skip
    path = tmp_path / "results.json"
    write_results(path, results)
    check_reader(path, lambda: read_results(path))
    ranks = tmp_path / "ranks.parquet"
    rows = np.arange(6)
    write_ranks(ranks, {("rec", "full"): rank_table(rows, rows + 1, rows, rows * 0)})
    check_reader(ranks, lambda: read_ranks(ranks))


def test_config_and_logbook(tmp_path):
    config: dict = {"train": {}}
    for key, value in base_values("item_knn").items():
        *groups, name = key.split(".")
        place = config
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    path = tmp_path / "config.json"
    parts = {"tables": "ab", "history": "cd", "split.one": "ef"}
    trained_on = {"name": "made-up", "split": "one", "parts": parts}
    path.write_text(json.dumps({"config": config, "dataset": trained_on}))
    check_reader(path, lambda: open_folder("run", tmp_path))
    line = {"step": 4, "stage": "fit", "kind": "train", "values": {"loss": 0.5, "x": None}}
    log = tmp_path / "metrics.jsonl"
    log.write_text("".join(json.dumps(line | {"step": step}) + "\n" for step in range(5)))
    check_reader(log, lambda: read_lines(tmp_path, "fit", "train"))
    whole = log.read_bytes()
    check_reader(log, lambda: cut_lines(log, 3, evaluated=True))
    assert len(log.read_bytes()) < len(whole)


def test_checkpoints(tmp_path):
    folder = tmp_path / "10"
    progress = Progress(stage_name="fit", step=10, best_value=0.5, best_step=10, rows={"a": 3})
    record = {"progress": progress.to_json(), "fingerprint": {"seed": 0, "identity": {"a": "b"}}}
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as writer:
        writer.save(folder / "progress", record)
    check_reader(folder / "progress" / "metadata", lambda: read_record(folder))
    (folder / "sizes.json").write_text(json.dumps({"progress/metadata": 1, "params/a": 5}))
    with pytest.raises(CutShort):
        check_sizes(folder)
    size = (folder / "progress" / "metadata").stat().st_size
    (folder / "sizes.json").write_text(json.dumps({"progress/metadata": size}))
    check_reader(folder / "sizes.json", lambda: check_sizes(folder))
