"""The readers of what our own commands have written: dataset folders, and what a run leaves."""

from __future__ import annotations

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from outcomes import Content, Reader

from baselines_jax.settings import ItemKnn
from common.data.audit import audit_dataset
from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.loading import read_manifest
from common.data.readers.synthetic import generate
from common.data.texts import read_query_texts, read_title_tokens, read_titles, read_words
from common.ranking.metrics import METRICS
from common.ranking.ranks import RankTable, read_ranks, write_ranks
from common.ranking.results import read_results, write_results
from common.runs.methods import find_method
from common.runs.record import read_record
from common.runs.trained import open_folder
from common.settings.reading import as_values, flatten
from common.training.logbook import cut_lines

SPLITS = ("leave_one_out_joint", "global_time")


@cache
def _make_dataset() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="snr_jax_fuzz_data_"))
    settings = PrepareSettings(splits=SPLITS, negatives=5, overwrite=True)
    write_dataset(folder / "data", generate("tiny", seed=0), settings)
    return folder / "data"


def _write_dataset(folder: Path) -> None:
    shutil.copytree(_make_dataset(), folder, dirs_exist_ok=True)


def _describe_dataset(folder: Path, *, verify: bool) -> Content:
    """All that a method or an evaluation gets of a dataset."""
    found: dict[str, Any] = {}
    for split in SPLITS:
        data = load_dataset(folder, split, verify=verify)
        lists = {
            (task, part, kind): stored.items
            for task in ("rec", "search")
            for part in ("valid", "test")
            for kind, stored in data.load_lists(task, part).items()
        }
        found[split] = [
            data.history_order, data.n_users, data.n_items, data.n_queries, data.n_tokens,
            tuple(data.rec), tuple(data.search), dict(data.rows), data.query_tokens,
            data.item_categories, lists,
        ]  # fmt: skip
    return Content(found)


def _load(folder: Path) -> Content:
    """Arrays, lists and texts, as a run reads them."""
    tokens = read_title_tokens(folder)
    found = _describe_dataset(folder, verify=True).compared
    texts = [read_titles(folder), read_query_texts(folder), read_words(folder)]
    return Content([found, texts, tokens and tuple(tokens)])


def _audit(folder: Path) -> Content:
    """What the audit command does. A report with faults tells them; a clean one must be right."""
    told = False
    for split in list(read_manifest(folder)["splits"]):
        report = audit_dataset(load_dataset(folder, split, verify=False))
        told |= bool(report.faults)
    return Content("audited" if told else _describe_dataset(folder, verify=False), None, told)


def _write_results(folder: Path) -> None:
    bounds = {name: {"value": 0.5, "low": 0.25, "high": 0.75} for name in METRICS}
    part = {"n": 5, "users": 4, "protocols": {"full": bounds}}
    results = {
        "schema": 1, "dataset": {"name": "a", "sha256": "b"}, "split": "c", "seed": 0,
        "tasks": {"rec": {"full": bounds}}, "sanity": {"random": {"rec": {"full": bounds}}},
        "ties": {"rate": 0.0}, "wall_seconds": 1.0, "protocol": {"sizes": {"full": 9}},
        "speed": {"train_examples_per_second": None, "eval_lists_per_second": 1.0},
        "slices": {"rec": {"popularity": {"low": part}}},
        "alarms": [{"alarm": "x", "where": "rec", "says": "y"}],
    }  # fmt: skip
    write_results(folder / "results.json", results)


def _read_json(name: str) -> Any:
    return lambda folder: json.loads((folder / name).read_bytes().decode("utf-8"))


def _write_ranks(folder: Path) -> None:
    rng = np.random.default_rng(0)
    ranks = {}
    for key in (("rec", "full"), ("rec", "uniform99"), ("search", "full")):
        low = rng.integers(1, 99, 50).astype(np.int32)
        rows, users = np.arange(50) * 3, rng.integers(1, 9, 50).astype(np.int32)
        ranks[key] = RankTable(rows, users, low, low + 1)
    write_ranks(folder / "ranks.parquet", ranks)


def _read_ranks(folder: Path) -> Content:
    ranks = read_ranks(folder / "ranks.parquet")
    return Content(
        sorted((*key, *map(int, row)) for key, t in ranks.items() for row in zip(*t, strict=True))
    )


def _read_plain_ranks(folder: Path) -> Any:
    rows = pq.ParquetFile(folder / "ranks.parquet").read().to_pylist()
    names = ("task", "protocol", *RankTable._fields)
    return sorted(tuple(row[name] for name in names) for row in rows)


def _write_config(folder: Path) -> None:
    config: dict[str, Any] = {}
    for key, value in flatten(as_values(ItemKnn())).items():
        *groups, name = key.split(".")
        place = config
        for group in groups:
            place = place.setdefault(group, {})
        place[name] = value
    about = {"name": "made-up", "split": "one",
             "parts": {"tables": "ab", "history": "cd", "split.one": "ef"}}  # fmt: skip
    (folder / "config.json").write_text(json.dumps({"config": config, "dataset": about}))


def _read_config(folder: Path) -> Content:
    run = open_folder("run", folder)
    return Content({"config": as_values(run.config), "dataset": run.data})


def _read_plain_config(folder: Path) -> Any:
    """Keys that a run did not know yet have the defaults of today; 1.0 is a whole number, too."""
    tree = json.loads((folder / "config.json").read_bytes().decode())
    known = find_method(tree["config"]["method"]).settings
    for key, value in flatten(as_values(known)).items():
        *groups, name = key.split(".")
        place = tree["config"]
        for group in groups:
            place = place.setdefault(group, {})
        found = place.setdefault(name, value)
        if type(found) in (int, float) and type(value) in (int, float):
            place[name] = type(value)(found)
    return {"config": tree["config"], "dataset": tree["dataset"]}


def _write_metrics(folder: Path) -> None:
    lines = [
        {"step": step, "stage": "fit", "kind": kind, "values": {"loss": 0.5 / step, "x": None},
         "timing": {"wait_share": 0.01}}
        for step in range(1, 9)
        for kind in ("train", "valid")
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _read_metrics(folder: Path) -> Content:
    """As a study reads them, and what a run keeps that goes on from step 5."""
    found = [read_record(folder, "fit", kind) for kind in ("train", "valid")]
    copy = folder / "copy"
    shutil.copy(folder / "metrics.jsonl", copy)
    try:
        cut_lines(copy, 5, evaluated=True)
        kept = [json.loads(line) for line in copy.read_text().split("\n") if line]
    finally:
        copy.unlink()
    return Content([[[r.step, r.values] for r in found], kept])


def _read_plain_metrics(folder: Path) -> Any:
    text = (folder / "metrics.jsonl").read_bytes().decode()
    lines = [json.loads(line) for line in text.split("\n") if line]
    first = next((i for i, line in enumerate(lines) if line["stage"] == "fit"), 0)
    start = max((line["step"] for line in lines[:first]), default=0)
    found = []
    for kind in ("train", "valid"):
        chosen = [line for line in lines if (line["stage"], line["kind"]) == ("fit", kind)]
        steps = np.array([line["step"] - start for line in chosen], np.int64)
        values = {
            name: np.array([_to_float(line["values"].get(name)) for line in chosen])
            for name in {name for line in chosen for name in line["values"]}
        }
        found.append([steps, values])
    kept = [line for line in lines if line["step"] < 5
            or (line["step"] == 5 and line["kind"] in ("train", "valid"))]  # fmt: skip
    return [found, kept]


def _to_float(value: Any) -> float:
    return np.nan if value is None else float(value)


def _is_read(name: str) -> bool:
    """Nobody reads what is said beside the lists, nor, without asking, the planted truth."""
    return name == "dataset.json" or not name.startswith(("truth/", "cand/")) or name[-4:] == ".npy"


READERS = [
    Reader("dataset folder: load", _write_dataset, _load, _is_read,
           checksummed=True),
    Reader("dataset folder: audit", _write_dataset, _audit, _is_read,
           checksummed=True),
    Reader("results.json", _write_results,
           lambda folder: Content(read_results(folder / "results.json")),
           second=_read_json("results.json")),
    Reader("ranks.parquet", _write_ranks, _read_ranks, second=_read_plain_ranks, checksummed=True),
    Reader("config.json", _write_config, _read_config, second=_read_plain_config),
    Reader("metrics.jsonl", _write_metrics, _read_metrics, second=_read_plain_metrics),
]  # fmt: skip
