"""The studies of GenSR from end to end on the tiny preset, and its logbook by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import InputError
from launch import main as train_command
from launch import study
from launch.command import run_command
from launch.studies.measures import bound_seeds
from launch.studies.query import draw_others
from launch.studies.record import read_record

CONFIG = Path(__file__).resolve().parents[3] / "gensr_jax/configs/tiny.py"


@pytest.fixture(scope="module")
def train(tiny, tmp_path_factory):
    """train(argument of the config, seed) -> workdir of a short run, each made once."""
    known: dict[tuple[str, int], Path] = {}

    def run(arg: str, seed: int = 0) -> Path:
        if (arg, seed) not in known:
            workdir = tmp_path_factory.mktemp("gensr") / f"{arg}{seed}"
            flags = [
                f"--config={CONFIG}:{arg}", f"--config.data.path={tiny}", f"--workdir={workdir}",
                "--config.text.vocabulary=256", "--config.train.batch_size=64",
                "--config.train.log_every_steps=1", "--config.train.probe_every_steps=2",
                "--config.eval.retrieve=0", "--config.cf.epochs=1", f"--config.seed={seed}",
                "--notensorboard",
            ]  # fmt: skip
            assert train_command.main(flags) == 0
            known[arg, seed] = workdir
        return known[arg, seed]

    return run


@pytest.fixture
def ask(tmp_path, capsys):
    """ask(study, *flags) -> (exit code, the study's JSON or None, stderr)."""

    def call(name, *flags):
        capsys.readouterr()
        code = run_command(study.main, [name, f"--out={tmp_path / 'out'}", *flags])
        out, err = capsys.readouterr()
        if code:
            return code, None, err
        assert (tmp_path / "out" / f"{name}.png").read_bytes()[1:4] == b"PNG"
        assert (tmp_path / "out" / f"{name}.md").read_text() in out
        return code, json.loads((tmp_path / "out" / f"{name}.json").read_text()), err

    return call


def test_conflict(train, ask):
    runs = f"GenSR={train('')},GenSR={train('', 1)},twin={train('twin')}"
    code, results, _ = ask("conflict", f"--runs={runs}")
    assert code == 0
    method = results["methods"]["GenSR"]
    assert set(method["layers"]) == {"encoder_1", "encoder_2", "cf_view"}
    curves = [read_record(train("", seed), "tune", "probe") for seed in (0, 1)]
    assert method["step"] == list(range(0, 2 * len(method["step"]), 2)) == curves[0].step.tolist()
    cosines = [curve.column("cosine_encoder_1") for curve in curves]
    entry = method["layers"]["encoder_1"]
    assert entry["curve"] == pytest.approx(np.mean(cosines, axis=0))
    assert entry["mean"]["value"] == pytest.approx(np.mean(cosines))
    assert entry["random"] == pytest.approx((4 * 64 * 64) ** -0.5)
    assert np.all(np.abs(cosines) <= 1)
    assert 0 < method["contrast"]["value"] < 1
    assert results["methods"]["twin"]["seeds"] == 1


def test_plateau(train, ask):
    code, results, _ = ask("plateau", f"--runs=GenSR={train('')},published={train('published')}")
    assert code == 0
    assert results["plateau"] == pytest.approx(0.5004, abs=1e-4)
    record = read_record(train(""), "tune", "train")
    seed = results["methods"]["GenSR"]["seeds"][0]
    assert seed["rows"] == record.step[-1] * 64 * 5
    assert seed["last"] == pytest.approx(record.column("task")[-3:].mean())
    curve = results["methods"]["GenSR"]["curve"]
    below = [rows for rows, loss in zip(curve["rows"], curve["loss"], strict=True) if loss < 0.49]
    assert seed["0.49"] == (below[0] if below else None)


def test_query(train, ask):
    runs = f"GenSR={train('')},published={train('published')}"
    code, results, _ = ask("query", f"--runs={runs}", "--draws=1")
    assert code == 0
    found = json.loads((train("") / "results.json").read_text())["tasks"]["search"]
    for protocol, entry in results["methods"]["GenSR"].items():
        value = found[protocol]["NDCG@10"]["value"]
        assert entry["own"]["NDCG@10"]["value"] == pytest.approx(value, abs=1e-9)
    changes = [
        entry[asked]["change"]["value"]
        for entry in results["methods"]["GenSR"].values()
        for asked in ("none", "other")
    ]
    assert np.any(changes)
    for entry in results["methods"]["published"].values():  # it never sees the query
        assert entry["none"]["change"]["value"] == entry["other"]["change"]["value"] == 0


def test_runs_without_what_a_study_needs_are_named(finished, ask):
    for name, part in (("conflict", "no probes"), ("plateau", "no curve"), ("query", "is of lcr")):
        code, _, err = ask(name, f"--runs=LCR={finished}")
        assert code == 2
        assert part in err


def test_record_counts_steps_from_the_stages_start(tmp_path):
    lines = [
        {"step": 10, "stage": "first", "kind": "train", "values": {"a": 1.0}},
        {"step": 20, "stage": "first", "kind": "valid", "values": {"b": 1.0}},
        {"step": 30, "stage": "second", "kind": "train", "values": {"a": None}},
        {"step": 40, "stage": "second", "kind": "train", "values": {"a": 3.0, "c": 1.0}},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = read_record(tmp_path, "second", "train")
    assert record.step.tolist() == [10, 20]
    np.testing.assert_array_equal(record.column("a"), [np.nan, 3.0])
    np.testing.assert_array_equal(record.column("c"), [np.nan, 1.0])
    assert np.isnan(record.column("d")).all()
    assert read_record(tmp_path, "first", "train").step.tolist() == [10]
    assert len(read_record(tmp_path, "third", "train").step) == 0


def test_logbooks_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"metrics\.jsonl: missing"):
        read_record(tmp_path, "tune", "train")
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl: not readable"):
        read_record(tmp_path, "tune", "train")


def test_interval_over_seeds_by_hand():
    # Mean 2, deviation 1, three seeds: 4.303 / sqrt(3).
    found = bound_seeds(np.array([1.0, 2.0, 3.0]))
    assert found["value"] == 2.0
    assert found["high"] - 2.0 == pytest.approx(2.4843, abs=1e-4)
    assert bound_seeds(np.array([5.0])) == {"value": 5.0, "low": 5.0, "high": 5.0}


def test_another_query_is_never_the_own():
    batch = {"row": np.arange(6), "query": np.array([1, 1, 2, 2, 3, 3], np.int32)}
    found = draw_others(batch, np.array([1, 2, 2, 3]), seed=0, draw=0)
    assert np.all(found != batch["query"])
    assert set(found) <= {1, 2, 3}
    np.testing.assert_array_equal(found, draw_others(batch, np.array([1, 2, 2, 3]), 0, 0))
