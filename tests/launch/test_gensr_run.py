"""GenSR through `launch.main` on the tiny preset: one model, two tasks."""

from __future__ import annotations

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
