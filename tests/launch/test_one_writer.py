"""One process per workdir and per dataset folder, and what a kill leaves is cleared."""

from __future__ import annotations

import json
import shutil

import pytest

from common.data.draft import written_beside
from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.synthetic import generate
from common.errors import InputError
from common.locks import only_writer


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def copy(finished, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(finished, workdir)
    return workdir


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_a_workdir_at_which_another_process_works_is_refused(mode, copy, run):
    with only_writer(copy / ".lock", "other", "go"):
        before = contents(copy)
        outcome = run(copy, f"--mode={mode}")
        assert contents(copy) == before
    assert outcome.code == 2
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {copy}: process ")
    assert line.endswith("; wait until it has ended, or use another --workdir")


def test_what_a_killed_run_left_is_told_and_cleared(copy, run):
    (copy / ".lock").write_text('{"host": "node-7", "pid": 12345}')
    for name in ("results.json.tmp", "ranks.parquet.tmp", "checkpoints/checksums.json.9.tmp"):
        (copy / name).write_text("half")
    outcome = run(copy, "--mode=evaluate")
    assert outcome.code == 0, outcome.err
    assert f"note: {copy}: process 12345 on node-7 was killed there; taken over" in outcome.err
    assert not list(copy.rglob("*.tmp"))
    assert not (copy / ".lock").exists()


def test_a_refused_command_makes_no_workdir(run, tmp_path):
    assert run(tmp_path / "run", "--config.data.min_history=1000").code == 2
    assert list(tmp_path.iterdir()) == []


def prepare(out, **settings):
    return write_dataset(out, generate("tiny", 0), PrepareSettings(**settings))


def test_a_dataset_folder_has_one_writer(tmp_path):
    with only_writer(tmp_path / ".d.lock", "other", "go"):
        with pytest.raises(
            InputError, match=r"/d: process \d+ on .* is at work there; wait .*--out"
        ):
            prepare(tmp_path / "d")
        assert [path.name for path in tmp_path.iterdir()] == [".d.lock"]


def test_what_a_killed_prepare_left_is_cleared(tmp_path):
    draft = tmp_path / ".d.new"
    (draft / "split").mkdir(parents=True)
    (tmp_path / ".d.lock").write_text("{")
    prepare(tmp_path / "d")
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_kill_between_the_two_renamings_loses_no_dataset(tmp_path):
    before = prepare(tmp_path / "d")
    (tmp_path / "d").rename(tmp_path / ".d.old")  # as after the first of the two
    with pytest.raises(InputError, match="is not empty; use another --out or --overwrite"):
        prepare(tmp_path / "d")
    assert json.loads((tmp_path / "d" / "dataset.json").read_text()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["d"]
    (tmp_path / ".d.old").mkdir()  # as after the second
    prepare(tmp_path / "d", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_filling_that_fails_leaves_what_was_there(tmp_path):
    def fill(out):
        with written_beside(out) as draft:
            (draft / "half").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path / "deep" / "d")
    assert list(tmp_path.iterdir()) == []
