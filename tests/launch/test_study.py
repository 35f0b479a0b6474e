"""The studies from end to end on the tiny preset: a short LCR run beside item-kNN."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from common.data.folder import PrepareSettings, load_dataset, write_dataset
from common.data.readers.synthetic import generate
from common.errors import InputError
from common.ranking.results import read_results
from common.runs.trained import parse_runs
from launch import main as train_command
from launch import study
from launch.command import run_command
from lcr_jax.studies import noise
from lcr_jax.studies.masking import choose_slots

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def knn(tiny, tmp_path_factory):
    """A method that reads no searches and has nothing to train."""
    workdir = tmp_path_factory.mktemp("runs") / "knn"
    config = ROOT / "baselines_jax/configs/item_knn_demo.py"
    words = [f"--config={config}", f"--config.data.path={tiny}", f"--workdir={workdir}"]
    assert train_command.main([*words, "--notensorboard"]) == 0
    return workdir


@pytest.fixture
def ask(tmp_path, capsys):
    """ask(study, *flags) -> (exit code, the study's JSON or None, stderr)."""

    def call(name, *flags):
        code = run_command(study.main, [name, f"--out={tmp_path / 'out'}", *flags])
        file = tmp_path / "out" / f"{name}.json"
        results = json.loads(file.read_text()) if file.is_file() else None
        if code == 0:
            assert (tmp_path / "out" / f"{name}.png").read_bytes()[1:4] == b"PNG"
            assert (tmp_path / "out" / f"{name}.md").read_text() in capsys.readouterr().out
        return code, results, capsys.readouterr().err

    return call


def gain(workdir):
    return read_results(workdir / "results.json")["tasks"]["rec"]["full"]["NDCG@10"]["value"]


def test_noise(finished, knn, tiny, ask, monkeypatch):
    monkeypatch.setattr(noise, "SHARES", (0.0, 1.0))
    code, results, _ = ask("noise", f"--runs=LCR={finished},kNN={knn}", "--draws=2")
    assert code == 0
    for name, workdir in (("LCR", finished), ("kNN", knn)):  # a wider memory changes nothing
        entry = results["methods"][name]["0.0"]
        assert entry["NDCG@10"]["value"] == pytest.approx(gain(workdir), rel=1e-6)
    noisy, deaf = (results["methods"][name]["1.0"] for name in ("LCR", "kNN"))
    assert deaf["NDCG@10 drop"]["value"] == 0.0
    assert "mass" not in deaf
    change = noisy["NDCG@10"]["value"] - gain(finished)
    assert noisy["NDCG@10 drop"]["value"] == pytest.approx(change)
    assert results["against"]["kNN"]["1.0"]["drops"]["value"] == pytest.approx(-change)
    assert results["against"]["kNN"]["1.0"]["half"]["value"] == pytest.approx(-change)
    # Twice as many searches as before, and the null event.
    dataset = load_dataset(tiny)
    _, end, _, start = dataset.timeline.ends("rec", dataset.rows["rec", "test"])
    sizes = np.minimum(end - start, 6)
    sizes = sizes[sizes > 0]
    assert noisy["rows_with_searches"] == len(sizes)
    assert noisy["count_share"] == pytest.approx((sizes / (2 * sizes + 1)).mean())
    assert noisy["excess"]["value"] == pytest.approx(noisy["mass"]["value"] - noisy["count_share"])
    assert 0 < noisy["mass"]["low"] <= noisy["mass"]["high"] < 1


def test_masking(finished, knn, ask):
    code, results, _ = ask("masking", f"--runs=LCR={finished},kNN={knn}", "--draws=1")
    assert code == 0
    assert results["skipped"] == ["kNN"]
    entry = results["methods"]["LCR"]["score"]
    change = {choice: bounds["value"] for choice, bounds in entry["change"].items()}
    assert all(value != 0 for value in change.values())
    assert entry["top - random"]["value"] == pytest.approx(change["top"] - change["random"])
    in_order = change["top"] < change["random"] < change["bottom"]
    assert entry["faithful"] == in_order


def test_the_slots_that_masking_takes_out():
    batch = {
        "row": np.array([5, 6, 7]),
        "search_mask": np.array([[1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], np.uint8),
    }
    weights = np.array([[0.2, 0.5, 0.1, 0.0], [0.9, 0, 0, 0], [0.3, 0.3, 0.9, 0.9]])
    slots = choose_slots(weights, batch, seed=0)
    assert slots["top"].tolist() == [1, -1, 0]  # pads are never chosen; of equal weights the oldest
    assert slots["bottom"].tolist() == [2, -1, 0]
    drawn = np.array([choose_slots(weights, batch, 0, draw)["random"] for draw in range(40)])
    assert set(drawn[:, 0]) == {0, 1, 2}
    assert set(drawn[:, 1]) == {-1}
    assert set(drawn[:, 2]) == {0, 1}


def test_steps(finished, ask):
    code, results, _ = ask("steps", f"--runs=LCR={finished}")
    assert code == 0
    assert results["trained"]["LCR"]["K"] == 2
    assert results["trained"]["LCR"]["NDCG@10"]["value"] == pytest.approx(gain(finished))
    read = results["readout"]["steps"]
    assert list(read) == ["0", "1", "2"]
    assert read["2"]["NDCG@10"]["value"] == pytest.approx(gain(finished), rel=1e-6)
    assert read["0"]["evidence"]["auc_pair"]["value"] == 0.5  # uniform before the first step
    told = read_results(finished / "results.json")["evidence"]["model"]
    for figure, bounds in read["2"]["evidence"].items():
        assert bounds["value"] == pytest.approx(told[figure]["value"])


def test_swap(finished, ask):
    code, results, _ = ask("swap", f"--runs=LCR={finished}", "--draws=1")
    assert code == 0
    told = read_results(finished / "results.json")["evidence"]
    entry = results["methods"]["LCR"]
    assert entry["own"] == told["model"]
    assert entry["swapped"] == told["swapped"]  # the same seed, so the same draw
    assert entry["swapped"] != entry["own"]


def test_runs_are_named():
    runs = parse_runs("LCR=/a/b,K=0=/c/d, /e/f")
    assert [(name, str(path)) for name, path in runs] == [
        ("LCR", "/a/b"), ("K=0", "/c/d"), ("f", "/e/f"),
    ]  # fmt: skip


def test_a_name_given_again_is_another_seed(tmp_path):
    for seed in (0, 1, 10):
        (tmp_path / f"seed{seed}").mkdir()
        (tmp_path / f"seed{seed}" / "results.json").touch()
    seeds = [("LCR", tmp_path / f"seed{seed}") for seed in (0, 1, 10)]
    assert parse_runs(f"LCR={tmp_path}/seed*") == seeds
    assert parse_runs(f"LCR={tmp_path}/seed0,LCR={tmp_path}/seed1") == seeds[:2]
    with pytest.raises(InputError, match=r"seed0: comes twice in LCR; name it once"):
        parse_runs(f"LCR={tmp_path}/seed0,LCR={tmp_path}/seed*")
    with pytest.raises(InputError, match=r"no finished run matches .*/run\*"):
        parse_runs(f"LCR={tmp_path}/run*")


def test_bad_requests_are_one_line(finished, ask, tmp_path):
    broken = tmp_path / "other"
    shutil.copytree(finished, broken, ignore=shutil.ignore_patterns("checkpoints"))
    saved = json.loads((finished / "config.json").read_text())
    saved["dataset"]["parts"]["split.leave_one_out_joint"] = "0" * 64
    (broken / "config.json").write_text(json.dumps(saved))
    cuts = tmp_path / "cuts"
    write_dataset(cuts, generate("tiny", seed=0), PrepareSettings(max_cut_share=0.9))
    for name, flags, part in (
        ("noises", [], "study 'noises': unknown; use one of noise, masking, steps, swap"),
        ("noise", [], "--runs: missing"),
        ("noise", ["--runs=LCR="], "--runs=LCR=: needs NAME=DIR"),
        ("noise", [f"--runs=LCR={tmp_path}"], f"{tmp_path}: is no run (no config.json)"),
        (
            "noise",
            [f"--runs=a={finished},b={broken}"],
            "--runs: b was not trained on the data of a: the split leave_one_out_joint is 00000000",
        ),
        (
            "noise",
            [f"--runs=a={finished}", f"--data={cuts}"],
            f"{cuts}: is not what the runs were trained on: the split leave_one_out_joint is ",
        ),
        ("steps", [f"--runs=a={finished}", "--readout=b"], "--readout=b: no run of --runs"),
    ):
        code, results, err = ask(name, *flags)
        assert (code, results) == (2, None)
        assert err.splitlines()[-1].startswith(f"error: {part}"), err
