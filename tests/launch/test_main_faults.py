"""Bad input to `launch.main`: one line that names what is wrong, exit code 2, nothing changed."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from common.data.folder import PrepareSettings, write_dataset
from common.data.hashing import array_sha256
from common.data.readers.synthetic import generate
from common.errors import InputError
from launch import main as train_command
from launch.command import run_command


def only_line(outcome):
    """The one error line of a command that ended with exit code 2."""
    assert outcome.code == 2, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "Traceback" not in outcome.err
    return lines[0]


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--config.histroy=3", "config.histroy: no such key"),
        ("--config.data.rec_lenght=3", "did you mean config.data.rec_length?"),
        ("--config.train.metric=rec/uniform99/NDCG@5", "needs the candidate lists uniform99"),
        ("--config.train.metric=NDCG@5", "not of the form task/protocol/metric"),
        ("--config.train.metric=rec/full/NDCG/10", "not of the form task/protocol/metric"),
        ("--config.train.metric=search/full/NDCG@10", "no metric 'search/full/NDCG@10'"),
        ("--config.train.schedule=linear", "linear"),
        ("--config.data.split=by_user", "by_user"),
        ("--config.method=lrc", "did you mean lcr?"),
        ("--wrokdir=x", "wrokdir"),
    ],
)
def test_bad_flags_are_named(flag, message, run, tmp_path):
    assert message in only_line(run(tmp_path / "run", flag))
    assert not (tmp_path / "run").exists()  # the same workdir will do for the mended command


def test_an_unknown_metric_lists_those_there_are(run, tmp_path):
    line = only_line(run(tmp_path / "run", "--config.train.metric=rec/full/NDCG@7"))
    assert "rec/full/NDCG@10" in line
    assert not (tmp_path / "run").exists()


def test_missing_folders_are_named(run, tmp_path, capsys):
    assert "nowhere" in only_line(run(tmp_path / "run", data=tmp_path / "nowhere"))
    assert "train first" in only_line(run(tmp_path / "run", "--mode=evaluate"))
    assert run_command(train_command.main, ["--config=lcr_jax/configs/tiny.py"]) == 2
    assert "--workdir: missing" in capsys.readouterr().err


def test_checkpoints_of_another_dataset_are_refused(finished, run, tmp_path):
    """Even without the config.json beside them, which would tell at once."""
    other = tmp_path / "other"
    write_dataset(other, generate("tiny", seed=1), PrepareSettings())
    shutil.copytree(finished / "checkpoints", tmp_path / "run" / "checkpoints")
    line = only_line(run(tmp_path / "run", data=other))
    assert re.match(
        rf"error: {tmp_path}/run/checkpoints/\d+: made on other data: the tables are", line
    )
    assert line.endswith("delete the folder to start again, or use another --workdir")


def test_checkpoints_of_another_configuration_are_refused(finished, run, tmp_path):
    """A checkpoint knows its configuration itself: without, or beside another, config.json."""
    workdir = tmp_path / "run"
    shutil.copytree(finished / "checkpoints", workdir / "checkpoints")
    line = only_line(run(workdir, "--config.train.learning_rate=0.01"))
    assert re.search(
        r"checkpoints/\d+: made by another run \(config\.train\.learning_rate was", line
    )
    saved = json.loads((finished / "config.json").read_text())
    saved["config"]["reasoner"]["steps"] = 1  # parameters of the same shapes, other numbers
    (workdir / "config.json").write_text(json.dumps(saved))
    told = r"made by another run \(config\.reasoner\.steps was 2 and is 1\)"
    for flags in (["--mode=evaluate"], ["--mode=explain", "--users=#1"]):
        words = [f"--workdir={workdir}", *flags]
        with pytest.raises(InputError, match=told):
            train_command.main(words)


def test_nothing_to_rank_is_named(tiny, run, tmp_path):
    """Targets with too little history are not ranked; here that leaves none."""
    line = only_line(run(tmp_path / "run", "--config.data.min_history=1000"))
    assert "1000" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_an_empty_part_is_named_before_training(part, tiny, run, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    manifest = json.loads((data / "dataset.json").read_text())
    split = "leave_one_out_joint"
    empty(data / f"split/{split}/rec_{part}.npy", manifest["splits"][split]["files"])
    for name, files in manifest["candidates"][split].items():
        if f"rec_{part}" in files:
            empty(data / f"cand/{split}.{name}/rec_{part}.npy", files)
    (data / "dataset.json").write_text(json.dumps(manifest))
    assert f"rec_{part}: no row with" in only_line(run(tmp_path / "run", data=data))
    assert not (tmp_path / "run/metrics.jsonl").exists()


def empty(file, entries):
    """Leaves no row in an array of a dataset folder; entries: its part of the manifest."""
    array = np.load(file)[:0]
    np.save(file, array)
    entries[file.stem] |= {"rows": 0, "sha256": array_sha256(array)}


def test_a_dataset_without_items_is_refused(tmp_path):
    source = generate("tiny", seed=0)
    source = dataclasses.replace(source, items=source.items.slice(0, 0))
    with pytest.raises(InputError, match="item"):
        write_dataset(tmp_path / "none", source, PrepareSettings())
    assert list(tmp_path.iterdir()) == []


def test_a_changed_table_is_noticed(tiny, run, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny, data)
    rows = data / "split/leave_one_out_joint/rec_test.npy"
    np.save(rows, np.load(rows)[:-1])
    assert "rec_test" in only_line(run(tmp_path / "run", data=data))


def test_a_loss_that_is_not_finite_names_its_step(run, tmp_path):
    outcome = run(
        tmp_path / "run",
        "--config.train.learning_rate=1e30",
        "--config.reasoner.steps=0",
    )
    assert outcome.code == 1, outcome.err
    assert re.search(r"error: .*step \d+", outcome.err), outcome.err
    assert not (tmp_path / "run/results.json").exists()
