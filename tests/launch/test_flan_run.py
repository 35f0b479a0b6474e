"""`flan_t5_base` as a whole run on a tiny folder in the upstream layout, and what it refuses."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.synthetic import generate
from common.ranking.results import read_results
from launch import main as train_command
from launch.command import run_command

HERE = Path(__file__).resolve().parent
CONFIG = HERE.parents[1] / "gensr_jax/configs/flan_t5_base.py"
SMALL = [
    "--config.train.metric=mean/uniform19/NDCG@5",
    "--config.train.epochs=1",
    "--config.train.batch_size=64",
    "--config.train.checkpoint_every_steps=3",
    "--config.cf.epochs=1",
    "--config.t5.dropout=0",
    "--config.model.dropout=0",
    "--config.cf.width=8",
    "--config.data.history_length=3",
    "--config.data.min_history=0",
    "--config.text.title_head=4",
    "--config.text.title_full=8",
    "--config.text.query_length=4",
    "--config.text.rec=the user {hist_cf}{hist_sem} item {cand_cf}{cand_sem}?",
    "--config.text.search=the user {hist_cf}{hist_sem} item {cand_cf}{cand_sem} {query}?",
    "--config.eval.retrieve=0",
    "--notensorboard",
]


def load_module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pytest.importorskip("tokenizers")
flan_folder = load_module("flan_folder")


@pytest.fixture
def flan(tmp_path):
    return flan_folder.write_flan(tmp_path / "flan")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The tiny preset, in which item 5 has no title and query 3 no word."""
    source = generate("tiny", seed=0)
    tables = {"items": (source.items, "title", 4), "queries": (source.queries, "text", 2)}
    changed = {}
    for name, (table, column, row) in tables.items():
        for field in (column, "text_tok" if name == "items" else "tok"):
            values = table[field].to_pylist()
            values[row] = None if field == column else []
            place = table.schema.get_field_index(field)
            table = table.set_column(place, field, pa.array(values, table.schema.field(field).type))
        changed[name] = table
    path = tmp_path_factory.mktemp("data") / "holes"
    write_dataset(path, dataclasses.replace(source, **changed), PrepareSettings(negatives=19))
    return path


def start(data, workdir, backbone, *more):
    flags = [f"--config={CONFIG}", f"--config.data.path={data}", f"--workdir={workdir}", *SMALL]
    named = [f"--config.backbone={backbone}"] if backbone else []
    return run_command(train_command.main, [*flags, *named, *more])


def only_line(capsys):
    [line] = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    return line


def test_train_resume_and_evaluate_again(data, flan, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert start(data, workdir, flan) == 0
    err = capsys.readouterr().err
    assert "texts: checkpoint vocabulary of 85 tokens" in err
    assert "titles: 1 empty, 119 cut; queries: 1 empty" in err
    first = read_results(workdir / "results.json")
    for task in ("rec", "search"):
        assert 0 <= first["tasks"][task]["uniform19"]["NDCG@10"]["value"] <= 1

    steps = sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())
    shutil.rmtree(workdir / "checkpoints" / str(steps[-1]))
    (flan / "model.safetensors").unlink()  # the weights are needed once
    assert start(data, workdir, flan) == 0
    assert read_results(workdir / "results.json")["tasks"] == first["tasks"]


def test_a_backbone_may_move_but_not_change(data, flan, tmp_path, capsys):
    workdir = tmp_path / "run"
    assert start(data, workdir, flan) == 0
    moved = flan.rename(tmp_path / "moved [1]: flan")
    assert start(data, workdir, moved) == 0
    assert start(data, workdir, moved, "--mode=evaluate") == 0
    tensors = load_file(moved / "model.safetensors")
    tensors["shared.weight"] = tensors["shared.weight"] + 1
    save_file(tensors, moved / "model.safetensors")
    capsys.readouterr()
    assert start(data, workdir, moved) == 2
    assert "its backbone is " in (line := only_line(capsys))
    assert line.endswith("; use the checkpoint folder that it was trained from")
    assert start(data, workdir, "", "--config.t5.size=mini") == 2
    assert "config.backbone is " in only_line(capsys)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("no flag", "config.backbone: missing; give the folder of a Flan-T5 checkpoint"),
        ("no folder", "no such folder; give the folder of a Flan-T5 checkpoint"),
        ("other model", 'config.json, model_type: is "bert", not "t5"; use a checkpoint of T5'),
        ("no tensor", "tensors: 1 missing (decoder.block.0.layer.1.EncDecAttention.k.weight)"),
        ("no answers", "tokenizer.json: 'Yes' is 4 tokens"),
        ("no tokenizer", "tokenizer.json: missing; give a checkpoint with a fast tokenizer"),
    ],
)
def test_what_cannot_be_used_is_named_and_leaves_nothing(
    data, flan, tmp_path, capsys, spoil, message
):
    backbone: Path | str = flan
    match spoil:
        case "no flag":
            backbone = ""
        case "no folder":
            backbone = tmp_path / "none"
        case "other model":
            keys = flan_folder.CONFIG | {"model_type": "bert"}
            (flan / "config.json").write_text(json.dumps(keys))
        case "no tensor":
            tensors = load_file(flan / "model.safetensors")
            del tensors["decoder.block.0.layer.1.EncDecAttention.k.weight"]
            save_file(tensors, flan / "model.safetensors")
        case "no answers":
            flan_folder.write_flan(flan, answers=("Maybe",))
        case "no tokenizer":
            (flan / "tokenizer.json").unlink()
    assert start(data, tmp_path / "run", backbone) == 2
    assert message in only_line(capsys)
    assert not (tmp_path / "run").exists()
