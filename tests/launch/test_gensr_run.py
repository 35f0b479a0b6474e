"""GenSR through `launch.main` on the tiny preset: one model, two tasks."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest

from common.data.folder import PrepareSettings, write_dataset
from common.data.readers.synthetic import generate
from common.ranking.results import read_results, validate_results
from launch import main as train_command
from launch.command import run_command


def test_results_hold_both_tasks_and_the_retriever(gensr):
    results = read_results(gensr.workdir / "results.json")
    validate_results(results)
    assert set(results["tasks"]) == {"rec", "search"}
    assert set(results["tasks"]["rec"]) == {"full", "uniform19", "popularity19"}
    assert set(results["tasks"]["search"]) == {"full", "uniform19", "popularity19", "bm25_19"}
    for task in ("rec", "search"):
        found = results["protocol"]["retrieved"][f"{task}/full"]
        assert (found["count"], found["by"]) == (20, "lightgcn")
        # What was not retrieved stays behind the 20: HR@10 cannot exceed the retriever's recall.
        assert results["tasks"][task]["full"]["HR@10"]["value"] <= found["recall"] + 1e-9
        assert "full" in results["sanity"]["retriever"][task]


def test_evaluating_again_gives_the_same(gensr, gensr_copy):
    flags = [*gensr.flags, f"--workdir={gensr_copy}", "--mode=evaluate"]
    assert train_command.main(flags) == 0
    before, after = (read_results(w / "results.json") for w in (gensr.workdir, gensr_copy))
    assert after["tasks"] == before["tasks"]
    assert after["protocol"] == before["protocol"]


def test_another_vocabulary_is_refused(gensr, gensr_copy, monkeypatch, capsys):
    """Another version of the library may give other scores and ids; the shapes would still fit."""
    flags = [*gensr.flags, f"--workdir={gensr_copy}"]
    monkeypatch.setattr("gensr_jax.unigram._DIGITS", 2)
    for mode in ("--mode=evaluate", "--mode=train"):
        assert run_command(train_command.main, [*flags, mode]) == 2
        [line] = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
        assert "its vocabulary is" in line
        assert "install the version of `tokenizers` that it was trained with" in line


@pytest.mark.slow
def test_a_log_without_searches_is_served_by_recommendation_alone(tmp_path, gensr, capsys):
    """Trained, evaluated and explained; the titles come out as letters."""
    source = generate("tiny", seed=0)
    titles = source.items["title"].to_pylist()
    place = source.items.schema.get_field_index("title")
    titles = pa.array([f"\x1b[31m{title}" for title in titles], pa.string())
    source = dataclasses.replace(
        source,
        items=source.items.set_column(place, "title", titles),
        search=source.search.slice(0, 0),
        queries=source.queries.slice(0, 0),
        truth={},
    )
    data, workdir = tmp_path / "data", tmp_path / "run"
    write_dataset(data, source, PrepareSettings(negatives=19))
    flags = [
        *gensr.flags, f"--config.data.path={data}", f"--workdir={workdir}",
        "--config.cf.epochs=1", "--config.train.epochs=1",
    ]  # fmt: skip
    assert train_command.main(flags) == 0
    results = read_results(workdir / "results.json")
    assert set(results["tasks"]) == {"rec"}
    assert train_command.main([*flags, "--mode=evaluate"]) == 0
    assert read_results(workdir / "results.json")["tasks"] == results["tasks"]
    capsys.readouterr()
    user = source.users["raw_id"][0].as_py()
    assert train_command.main([*flags, "--mode=explain", f"--users={user}"]) == 0
    out = capsys.readouterr().out
    assert "\\x1b[31m" in out
    assert "\x1b" not in out
    assert "\x1b" not in (workdir / "explain" / f"{user}.txt").read_text()
