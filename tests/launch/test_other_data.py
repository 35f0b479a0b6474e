"""A run and another dataset: what is refused by name, what is free, and what is recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.readers.synthetic import generate
from common.ranking.results import read_results
from common.runs.config_file import load_config_file
from common.runs.tasks import build_task
from common.runs.validation import name_judging_lists
from launch import compare, prepare
from launch import main as train_command
from launch.command import run_command

ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / "lcr_jax/configs/tiny.py")
KNN = str(ROOT / "baselines_jax/configs/item_knn_demo.py")
EARLY = ("--t1=1704900000000", "--t2=1705100000000")
LATE = ("--t1=1706100000000", "--t2=1706400000000")
CHANGING = ("speed", "wall_seconds")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """other(name) -> a folder with the tables of `tiny` and one thing changed."""
    folder = tmp_path_factory.mktemp("other")
    source = generate("tiny", seed=0)
    settings = {
        "cuts": PrepareSettings(max_cut_share=0.9),
        "rule": PrepareSettings(history_order="source"),
        "lists": PrepareSettings(negatives=5, seed=5),
    }

    def make(name):
        if not (folder / name).exists():
            write_dataset(folder / name, source, settings[name])
        return folder / name

    return make


@pytest.fixture
def copy(finished, tmp_path):
    """A workdir with what the tiny run has learned, to be written into."""
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture(scope="module")
def knn(tiny, tmp_path_factory):
    """A workdir of a method that has nothing to train, so that judging it is quick."""
    workdir = tmp_path_factory.mktemp("runs") / "knn"
    words = [f"--config={KNN}", f"--config.data.path={tiny}", f"--workdir={workdir}"]
    assert train_command.main(words) == 0
    return workdir


@pytest.fixture
def knn_copy(knn, tmp_path):
    shutil.copytree(knn, tmp_path / "knn")
    return tmp_path / "knn"


@pytest.fixture
def call(capsys):
    """call(main, *words) -> exit code, stdout, stderr."""

    def run(main, *words):
        capsys.readouterr()
        code = run_command(main, [str(word) for word in words])
        return code, *capsys.readouterr()

    return run


def numbers(workdir):
    results = read_results(workdir / "results.json")
    return {key: value for key, value in results.items() if key not in CHANGING}


def test_a_model_is_not_judged_on_other_cuts_of_the_same_tables(call, tmp_path):
    """The tables' hashes agree; trained on the late cuts, it has seen the early test rows."""
    runs = {}
    for name, cuts in (("early", EARLY), ("late", LATE)):
        data = tmp_path / name
        words = ["--source=synthetic", "--preset=tiny", "--splits=global_time", *cuts]
        assert call(prepare.main, *words, f"--out={data}")[0] == 0
        words = [f"--config={KNN}", "--config.data.split=global_time", f"--config.data.path={data}"]
        runs[name] = [*words, "--notensorboard"]
    assert len({load_dataset(tmp_path / n, "global_time").sha256 for n in runs}) == 1
    workdir = f"--workdir={tmp_path / 'run'}"
    assert call(train_command.main, *runs["late"], workdir)[0] == 0
    before = (tmp_path / "run/results.json").read_bytes()
    for mode in ("train", "evaluate"):
        code, _, err = call(train_command.main, *runs["early"], workdir, f"--mode={mode}")
        assert (code, err.count("\n")) == (2, 1)
        assert f"{tmp_path / 'run'}: holds another run: the split global_time is " in err
    assert (tmp_path / "run/results.json").read_bytes() == before
    assert call(train_command.main, *runs["early"], f"--workdir={tmp_path / 'second'}")[0] == 0
    words = [f"--run=A:{tmp_path / 'run'}", f"--run=B:{tmp_path / 'second'}", "--nopicture"]
    code, _, err = call(compare.main, *words, f"--out={tmp_path / 'report'}")
    assert (code, err.count("\n")) == (2, 1)
    assert "was trained on other data than" in err
    assert "the split global_time is " in err
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [("cuts", "the split leave_one_out_joint is "), ("rule", "the history rule is ")],
)
def test_every_use_of_a_model_asks_for_its_data(name, told, copy, run, other, tmp_path):
    before = numbers(copy)
    start = ["--config.second.kind=more", f"--config.second.start={copy}"]
    for workdir, flags in (
        (copy, []),
        (copy, ["--mode=evaluate"]),
        (copy, ["--mode=explain", "--users=u03"]),
        (tmp_path / "second", start),
    ):
        outcome = run(workdir, *flags, data=other(name))
        assert outcome.code == 2, flags
        assert outcome.err.count("error: ") == 1
        assert told in outcome.err
        assert " there and " in outcome.err
    assert numbers(copy) == before
    assert not (tmp_path / "second").exists()


def test_other_lists_are_free_to_judge_by_and_told(knn, knn_copy, call, other, tmp_path):
    again = [f"--workdir={knn_copy}", "--mode=evaluate"]
    code, _, err = call(train_command.main, *again, f"--config.data.path={other('lists')}")
    assert code == 0, err
    assert "lists: not those of training: the list bm25_5 of search test is absent there" in err
    results, before = numbers(knn_copy), numbers(knn)
    assert set(results["tasks"]["rec"]) == {"full", "uniform5", "popularity5"}
    assert results["tasks"]["rec"]["full"] == before["tasks"]["rec"]["full"]
    assert results["trained_on"] == before["trained_on"] == before["evaluated_on"]
    for name, value in results["protocol"]["candidates"].items():
        task, kind = name.split("/")
        stored = results["evaluated_on"]["parts"][f"list.leave_one_out_joint.{kind}.{task}.test"]
        assert stored == value
    words = [f"--run=A:{knn}", f"--run=B:{knn_copy}", f"--out={tmp_path / 'report'}"]
    code, _, err = call(compare.main, *words)
    assert code == 2
    assert f"{knn_copy}: was evaluated on other data than {knn}: the list " in err
    assert call(train_command.main, *again)[0] == 0  # and back again
    assert numbers(knn_copy) == before


def test_lists_bind_a_training_that_is_judged_by_them(finished, run, dataset, tmp_path):
    """The config says which; those of no metric, and those of test rows, may be others."""
    config = load_config_file(TINY)
    assert name_judging_lists(build_task(config, dataset), "s") == []  # by the full catalogue
    config.train.metric = "mean/uniform19/NDCG@5"
    assert name_judging_lists(build_task(config, dataset), "s") == ["list.s.uniform19.rec.valid"]
    saved = json.loads((finished / "config.json").read_text())
    saved["config"]["train"]["metric"] = "rec/uniform19/NDCG@5"
    saved["dataset"]["parts"]["list.leave_one_out_joint.uniform19.rec.valid"] = "0" * 64
    (tmp_path / "config.json").write_text(json.dumps(saved))
    outcome = run(tmp_path, "--config.train.metric=rec/uniform19/NDCG@5")
    assert outcome.code == 2
    assert "the list uniform19 of rec valid is 000000000000 there and " in outcome.err


def test_a_model_can_be_judged_elsewhere_when_asked_for(finished, copy, run, call, other, tmp_path):
    before = numbers(copy)
    outcome = run(copy, "--mode=evaluate", f"--evaluate_on={other('cuts')}")
    assert outcome.code == 0, outcome.err
    assert "judged on other data than it was trained on: the split leave_one_out" in outcome.err
    assert "trained on tiny, leave_one_out_joint, which is other data:" in outcome.out
    results = numbers(copy)
    assert results["trained_on"] == before["trained_on"]
    moved = load_dataset(other("cuts"))
    assert (
        results["evaluated_on"]["parts"]["split.leave_one_out_joint"]
        != (results["trained_on"]["parts"]["split.leave_one_out_joint"])
    )
    assert results["protocol"]["rows"]["rec"] == len(moved.rows["rec", "test"])
    assert results["tasks"] != before["tasks"]
    words = [f"--run=A:{finished}", f"--run=B:{copy}", f"--out={tmp_path / 'report'}"]
    code, _, err = call(compare.main, *words, "--nopicture")
    assert code == 2
    assert f"{copy}: was evaluated on other data than {finished}: the split leave_one" in err
    code, out, _ = call(compare.main, *words[1:], "--nopicture")  # alone, and called what it is
    assert code == 0
    assert "**Trained on other data**: tiny, leave_one_out_joint (the split" in out
    assert run(copy, "--mode=evaluate").code == 0
    assert numbers(copy) == before


def test_what_a_method_makes_of_its_training_rows_stays(call, knn_copy, other, tmp_path):
    """item-kNN's neighbours are made of the data that it was trained on, not of what is judged."""
    elsewhere = ["--mode=evaluate", f"--evaluate_on={other('cuts')}"]
    assert call(train_command.main, f"--workdir={knn_copy}", *elsewhere)[0] == 0
    asked = numbers(knn_copy)
    words = [f"--config={KNN}", f"--config.data.path={other('cuts')}"]
    assert call(train_command.main, *words, f"--workdir={tmp_path / 'own'}")[0] == 0
    own = numbers(tmp_path / "own")
    assert own["protocol"]["rows"] == asked["protocol"]["rows"]
    assert own["sanity"]["random"] == asked["sanity"]["random"]
    assert own["tasks"] != asked["tasks"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--mode=train", "--evaluate_on={place}"], "--evaluate_on: goes with --mode=evaluate"),
        (["--mode=evaluate", "--evaluate_on={place}"], "the table items is "),
        (["--mode=evaluate", "--evaluate_on=nowhere"], "nowhere: no such folder"),
        (["--mode=evaluate", "--config.knn.window=2"], "config.knn.window is 3 there and 2 here"),
        ([], "--config: missing; give a file, such as --config=lcr_jax/configs/demo.py"),
    ],
)
def test_what_cannot_be_judged_is_refused(flags, told, knn, call, tmp_path):
    write_dataset(tmp_path / "place", generate("tiny", seed=1), PrepareSettings())
    before = (knn / "results.json").read_bytes()
    words = [flag.format(place=tmp_path / "place") for flag in flags]
    code, _, err = call(train_command.main, f"--workdir={knn}", *words)
    assert (code, err.count("\n")) == (2, 1)
    assert told in err
    assert (knn / "results.json").read_bytes() == before


def test_evaluation_keys_are_free_and_stored(knn_copy, call):
    before = numbers(knn_copy)
    free = ["--config.eval.batch_size=32", "--config.eval.filter_seen=none"]
    again = [f"--workdir={knn_copy}", "--mode=evaluate"]
    assert call(train_command.main, *again, *free)[0] == 0
    results = numbers(knn_copy)
    told = {"eval.batch_size": 32, "eval.filter_seen": "none"}
    assert results["evaluation"] == before["evaluation"] | told
    assert before["evaluation"] != results["evaluation"]
    assert results["protocol"]["filter_seen"] == "none"
    assert results["tasks"]["rec"]["full"] != before["tasks"]["rec"]["full"]
    for kind in ("uniform19", "popularity19"):
        assert results["tasks"]["rec"][kind] == before["tasks"]["rec"][kind]


def test_explaining_needs_no_config(copy, call):
    code, out, err = call(train_command.main, f"--workdir={copy}", "--mode=explain", "--users=u03")
    assert code == 0, err
    assert out == (copy / "explain/u03.txt").read_text() + "\n"


@pytest.mark.parametrize("mode", [["--mode=evaluate"], ["--mode=explain", "--users=u03"]])
def test_no_run_and_an_old_run_are_one_line(mode, copy, call, run, tmp_path):
    code, _, err = call(train_command.main, f"--workdir={tmp_path / 'none'}", *mode)
    assert (code, err.count("\n")) == (2, 1)
    assert "train first, or give another --workdir" in err
    saved = json.loads((copy / "config.json").read_text())
    old = {"config": saved["config"], "dataset_sha256": saved["dataset"]["parts"]["tables"]}
    (copy / "config.json").write_text(json.dumps(old))
    for outcome in (call(train_command.main, f"--workdir={copy}", *mode), run(copy, *mode)):
        code, _, err = outcome
        assert (code, err.count("\n")) == (2, 1)
        assert "config.json: made by an older version" in err
        assert "train again, with another --workdir" in err
