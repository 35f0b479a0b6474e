"""launch.compare on runs of a method that needs no training."""

from __future__ import annotations

import json
import shutil

import pytest

from common.ranking.results import read_results
from launch import compare
from launch import main as train_command
from launch.command import run_command

SPLIT = "leave_one_out_joint"
KNN = "baselines_jax/configs/item_knn_demo.py"


@pytest.fixture(scope="session")
def runs(tiny, tmp_path_factory):
    """near/seed0, near/seed1 (one event counts) and far/seed0 (ten events count)."""
    folder = tmp_path_factory.mktemp("knn")
    for name, window, seed in (("near", 1, 0), ("near", 1, 1), ("far", 10, 0)):
        words = [f"--config={KNN}", f"--config.data.path={tiny}", f"--config.seed={seed}"]
        words += [f"--config.knn.window={window}", f"--workdir={folder / name / f'seed{seed}'}"]
        assert train_command.main(words) == 0
    return folder


@pytest.fixture
def call(runs, tmp_path, capsys):
    """call(*words) -> exit code, stdout, stderr; {runs} in a word is the folder of the runs."""

    def run(*words):
        capsys.readouterr()
        words = [word.format(runs=runs) for word in words]
        words += ["--resamples=200", f"--out={tmp_path / 'report'}"]
        code = run_command(compare.main, words)
        return code, *capsys.readouterr()

    return run


def edit_json(path, **changes):
    """Sets keys of a JSON file; __ goes one level down."""
    content = json.loads(path.read_text())
    for key, value in changes.items():
        *groups, last = key.split("__")
        group = content
        for name in groups:
            group = group[name]
        group[last] = value
    path.write_text(json.dumps(content))


def test_a_method_without_stages_is_evaluated_at_once(runs):
    results = read_results(runs / "near/seed0/results.json")
    assert (results["method"], results["parameters"]) == ("item_knn", 0)
    assert "stage" not in results
    assert results["speed"]["train_examples_per_second"] is None
    assert not (runs / "near/seed0/checkpoints").exists()


def test_the_report_has_the_runs_own_numbers(call, runs, tmp_path):
    code, out, _ = call("--run=near:{runs}/near/seed*", "--run=far=10:{runs}/far/seed0")
    assert code == 0
    told = json.loads((tmp_path / "report/compare.json").read_text())
    assert list(told["methods"]) == ["near", "far=10"]
    assert told["reference"] == "near"
    assert told["methods"]["near"]["seeds"] == [0, 1]
    values = {}
    for name, path in (("near", "near/seed0"), ("far=10", "far/seed0")):
        value = read_results(runs / path / "results.json")["tasks"]["rec"]["full"]["HR@10"]["value"]
        assert told["methods"][name]["metrics"]["HR@10"]["value"] == pytest.approx(value)
        values[name] = value
    change = told["methods"]["far=10"]["differences"]["HR@10"]
    assert change["value"] == pytest.approx(values["far=10"] - values["near"])
    text = (tmp_path / "report/compare.md").read_text()
    assert out.strip() in text
    assert f"| {values['near']:.4f} [" in text
    assert "(sha256 " + told["dataset"]["sha256"][:12] in text
    assert "\n![Intervals](compare.png)\n" in text
    assert not list((tmp_path / "report").glob("*.tmp"))


def test_the_picture_is_drawn_unless_unwanted(call, tmp_path):
    pytest.importorskip("matplotlib")
    word = "--run=near$:{runs}/near/seed0"
    assert call(word, "--nopicture")[0] == 0
    assert not (tmp_path / "report/compare.png").exists()
    assert call(word, "--run=far:{runs}/far/*", "--metrics=MRR,HR@1,NDCG@5")[0] == 0
    assert (tmp_path / "report/compare.png").read_bytes().startswith(b"\x89PNG")


def test_the_reference_and_the_protocol_can_be_chosen(call, tmp_path):
    words = ["--run=near:{runs}/near/seed0", "--run=far:{runs}/far/seed0", "--nopicture"]
    assert call(*words, "--against=far", "--protocol=uniform19", "--metrics=MRR")[0] == 0
    told = json.loads((tmp_path / "report/compare.json").read_text())
    assert (told["reference"], told["protocol"], told["metrics"]) == ("far", "uniform19", ["MRR"])
    assert list(told["methods"]["near"]["differences"]) == ["MRR"]
    assert "differences" not in told["methods"]["far"]


def test_equal_configurations_under_two_names_are_noted(call):
    code, out, _ = call("--run=A:{runs}/near/seed0", "--run=B:{runs}/near/seed1", "--nopicture")
    assert code == 0
    assert "- A and B have the same configuration." in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--run: missing"),
        (["--run={runs}/near/seed0"], "not of the form NAME:WORKDIRS"),
        (["--run=A:{runs}/nothing*"], "no finished run matches"),
        (["--run=A:{runs}/near"], "no results.json"),
        (["--run=A:{runs}/near/seed0", "--run=A:{runs}/far/seed0"], "--run=A: given twice"),
        (["--run=A:{runs}/near/seed*,{runs}/near/seed0"], "both have seed 0"),
        (["--run=A:{runs}/near/seed1,{runs}/far/seed0"], "config.knn.window is 1 in"),
        (["--run=A:{runs}/near/seed0", "--against=B"], "--against=B: no such method"),
        (["--run=A:{runs}/near/seed0", "--metrics=NDCG10"], "did you mean NDCG@10?"),
        (["--run=A:{runs}/near/seed0", "--protocol=bm25_99"], "rec/bm25_99 was not ranked"),
    ],
)
def test_bad_input_is_one_line(call, words, message, tmp_path):
    code, _, err = call(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        *(
            (
                {f"{key}_on__parts__{part}": "0" * 64},
                f"was {key} on other data than ",
            )
            for key in ("trained", "evaluated")
            for part in ("tables", "history", f"split.{SPLIT}")
        ),
        (
            {f"evaluated_on__parts__list.{SPLIT}.uniform19.rec.test": "0" * 64},
            "the list uniform19 of rec test is ",
        ),
        ({"evaluated_on": None}, "key evaluated_on: made by an older version"),
        ({"protocol__filter_seen": "none"}, "filter_seen is none, but history in"),
        ({"tasks__rec__full__MRR": {"value": 0.5, "low": 0.5, "high": 0.5}}, "says MRR 0.500000"),
    ],
)
def test_a_run_that_does_not_belong_is_refused(call, runs, tmp_path, change, message):
    other = tmp_path / "other"
    shutil.copytree(runs / "far/seed0", other)
    edit_json(other / "results.json", **change)
    code, _, err = call("--run=near:{runs}/near/seed0", f"--run=other:{other}")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"error: {other}")
    assert message in err


def test_runs_that_start_from_the_run_of_their_seed_are_one_method(call, runs, tmp_path):
    for seed in (0, 1):
        shutil.copytree(runs / f"near/seed{seed}", tmp_path / f"second/seed{seed}")
        config = tmp_path / f"second/seed{seed}/config.json"
        edit_json(config, config__second={"start": f"runs/first/seed{seed}"})
    assert call(f"--run=A:{tmp_path}/second/*", "--nopicture")[0] == 0
    edit_json(config, config__second={"start": "runs/first/seed0"})
    code, _, err = call(f"--run=A:{tmp_path}/second/*", "--nopicture")
    assert code == 2
    assert "config.second.start" in err


def test_an_unfinished_run_is_left_out_with_a_warning(call, runs, tmp_path):
    shutil.copytree(runs / "near/seed0", tmp_path / "some/seed0")
    (tmp_path / "some/seed1").mkdir()
    shutil.copytree(runs / "near/seed1", tmp_path / "some/seed2")
    edit_json(tmp_path / "some/seed2/results.json", model={"step": 3, "finished": False})
    code, _, err = call(f"--run=A:{tmp_path}/some/seed*", "--nopicture")
    assert code == 0
    for seed in (1, 2):
        assert f"warning: {tmp_path}/some/seed{seed}: not finished, left out" in err
    code, _, err = call(f"--run=A:{tmp_path}/some/seed2", "--nopicture")
    assert code == 0
    assert f"warning: {tmp_path}/some/seed2: was judged before its training had ended" in err
