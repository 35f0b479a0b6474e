"""The studies of GenSR from end to end: GenSR and its twin, untrained, on the tiny preset."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from gensr_jax.studies import information, space
from launch import study
from launch.command import run_command


def ask(name, out, *flags):
    assert run_command(study.main, [name, f"--out={out}", *flags]) == 0
    assert (out / f"{name}.png").read_bytes()[1:4] == b"PNG"
    return json.loads((out / f"{name}.json").read_text()), (out / f"{name}.md").read_text()


def test_information(pair, tmp_path, monkeypatch):
    quick = dataclasses.replace(information.CRITIC, pairs=64, steps=20, look_every=10)
    monkeypatch.setattr(information, "CRITIC", quick)
    monkeypatch.setattr(information, "LISTS", 60)
    monkeypatch.setattr(information, "DRAWS", 10)
    results, text = ask("information", tmp_path, pair("other", seed=1))
    assert results["lists"]["rec"] == {"fit": 60, "test": 60}
    assert results["entropy"] == pytest.approx(0.5004, abs=1e-4)
    assert results["cap"]["rec"] == pytest.approx(np.log(64))
    for task in ("rec", "search"):
        ours, other = (results["methods"][name][task] for name in ("GenSR", "other"))
        assert list(ours) == list(information.MEASURES)
        assert ours["label"]["value"] < results["entropy"]
        assert ours["infonce"]["high"] <= results["cap"][task] + 1e-6
        for key, entry in ours.items():
            assert entry["low"] <= entry["value"] <= entry["high"]
            assert entry["seeds"] == pytest.approx([entry["value"]])
            gap = results["against"]["other"][task][key]["value"]
            assert gap == pytest.approx(entry["value"] - other[key]["value"])
    assert "GenSR minus other" in text


def test_space(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(space, "BATCHES", 4)
    monkeypatch.setattr(space, "BATCH_SIZE", 8)
    monkeypatch.setattr(space, "LISTS", 40)
    results, text = ask("space", tmp_path, pair("twin", "twin"))
    assert results["chance"]["mask_overlap"] == pytest.approx(0.0256, abs=1e-4)
    for entry in results["methods"].values():
        assert list(entry["layers"]) == ["1", "2"]
        layers = [layer["overlap"]["value"] for layer in entry["layers"].values()]
        assert entry["mask_overlap"]["value"] == pytest.approx(np.mean(layers))
        assert 0 < min(layers) <= max(layers) < 1
        assert np.shape(entry["pictures"]["gradient"]["points"]) == (8, 2)
        assert sum(entry["pictures"]["state"]["search"]) == results["lists"]
        assert 0 <= entry["probe"]["value"] <= 1
    assert "| by chance |" in text


def test_other_methods_are_refused(pair, tmp_path, capsys):
    runs = pair("SASRec", method="sasrec")
    for name in ("information", "space"):
        assert run_command(study.main, [name, runs, f"--out={tmp_path}"]) == 2
        told = capsys.readouterr().err.splitlines()
        assert told[-1].startswith("error: --runs: SASRec is a run of sasrec, and only GenSR has")


def test_runs_that_rank_other_rows_are_refused(pair, tmp_path, capsys):
    runs = pair("longer", data={"min_history": 3})
    assert run_command(study.main, ["space", runs, f"--out={tmp_path}"]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "config.data.min_history is 1 in GenSR and 3 in longer" in told


def test_a_sketch_keeps_inner_products():
    rng = np.random.default_rng(0)
    first = {"a": rng.normal(size=(60, 50)).astype(np.float32), "b": np.ones(40, np.float32)}
    second = {"a": first["a"] + rng.normal(size=(60, 50)).astype(np.float32), "b": first["b"]}
    sketch = space.make_sketch(first, seed=0)
    ours = [np.asarray(sketch(tree)) for tree in (first, second)]
    flat = [np.concatenate([tree["a"].ravel(), tree["b"]]) for tree in (first, second)]
    cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in (ours, flat)]
    assert ours[0].shape == (space.SKETCH,)
    assert cosines[0] == pytest.approx(cosines[1], abs=0.1)
