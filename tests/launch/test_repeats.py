"""Repeats from the log to the comparison: the filter, slices, the alarm, `--strict`."""

from __future__ import annotations

import json

import pytest

from common.ranking.results import read_results
from launch import compare, prepare
from launch import main as train_command

KNN = "baselines_jax/configs/item_knn_demo.py"
USERS, REPEATERS, ITEMS = 120, 60, 40


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """Each user buys six items, a day apart; half of them buy their first one again at last.

    No searches. Lists of five candidates: any HR@5 and HR@10 is 1.
    """
    folder = tmp_path_factory.mktemp("shop")
    lines = ["user,item,time"]
    for user in range(USERS):
        items = [(7 * user + 3 * day) % ITEMS for day in range(6)]
        if user < REPEATERS:
            items[-1] = items[0]
        lines += [f"u{user},i{item},{1.7e9 + 86400 * day:.0f}" for day, item in enumerate(items)]
    (folder / "raw").mkdir()
    (folder / "raw/interactions.csv").write_text("\n".join(lines) + "\n")
    names = [f"i{item},thing {item}" for item in range(ITEMS)]
    (folder / "raw/items.csv").write_text("\n".join(["item,title", *names]) + "\n")
    words = ["--source=tables", f"--raw={folder / 'raw'}", f"--out={folder / 'data'}"]
    assert prepare.main([*words, "--negatives=4", "--splits=leave_one_out_per_task"]) == 0
    return folder / "data"


@pytest.fixture(scope="module")
def call(shop, tmp_path_factory):
    """call(name, *words) -> exit code of a run in a workdir of that name, and the workdir."""
    folder = tmp_path_factory.mktemp("runs")

    def run(name, *words):
        given = [f"--config={KNN}", f"--config.data.path={shop}", f"--workdir={folder / name}"]
        split = "--config.data.split=leave_one_out_per_task"
        return train_command.main([*given, split, *words]), folder / name

    return run


def test_repeats_turn_the_filter_off_and_are_told(call, capsys):
    code, workdir = call("auto")
    out = capsys.readouterr().out
    results = read_results(workdir / "results.json")
    assert code == 0
    protocol = results["protocol"]
    assert (protocol["filter_seen"], protocol["repeats"]) == ("none", {"rec": 0.5})
    assert protocol["filter_reason"] in out
    assert "auto: 50.0% of rec test targets stand in their own history, above 1%" in out
    target = results["slices"]["rec"]["target"]
    assert [target[label]["n"] for label in ("new", "bought_before", "clicked_before")] == [
        USERS - REPEATERS, REPEATERS, 0,
    ]  # fmt: skip
    assert results["slices"]["rec"]["user"]["without_searches"]["n"] == USERS
    whole = results["tasks"]["rec"]["full"]["NDCG@10"]["value"]
    parts = [target[label]["protocols"]["full"]["NDCG@10"]["value"] for label in ("new", "repeat")]
    assert sum(parts) / 2 == pytest.approx(whole)
    assert out.splitlines()[-2].startswith("rec / full: 50% of targets are new items: NDCG@10 0.")


def test_the_alarm_is_kept_for_lists_of_five_and_strict_fails(call, capsys):
    code, workdir = call("strict", "--strict")
    assert code == 1
    alarms = json.loads((workdir / "results.json").read_text())["alarms"]
    leaks = {alarm["where"] for alarm in alarms if alarm["alarm"] == "LEAK OR REPEATS"}
    assert leaks == {"rec/full", "rec/uniform4", "rec/popularity4"}
    place = read_results(workdir / "results.json")["own_history"]["rec/uniform4"]["value"]
    assert place == pytest.approx(0.25)  # half of the targets first, half in the middle
    assert "LEAK OR REPEATS: rec/uniform4: in_history puts targets at 25.0%" in (
        capsys.readouterr().out
    )


def test_a_second_evaluation_says_the_same(call, capsys):
    _, workdir = call("again")
    first = read_results(workdir / "results.json")
    (workdir / "results.json").unlink()
    assert call("again", "--mode=evaluate")[0] == 0
    second = read_results(workdir / "results.json")
    for key in ("slices", "alarms", "own_history", "protocol"):
        assert first[key] == second[key]
    capsys.readouterr()


def test_the_filter_that_is_asked_for_is_kept_with_a_word(call, capsys):
    _, workdir = call("asked", "--config.eval.filter_seen=history")
    results = read_results(workdir / "results.json")
    told = "as asked; it favours the 50.0% of rec test targets that stand in their own history"
    assert results["protocol"]["filter_seen"] == "history"
    assert results["protocol"]["filter_reason"] == told
    assert f"filter  {told}" in capsys.readouterr().out
    assert "LEAK OR REPEATS" in {alarm["alarm"] for alarm in results["alarms"]}


def test_compare_repeats_the_alarm_of_its_ranking(call, tmp_path, capsys):
    runs = [call("near", "--config.knn.window=1")[1], call("far", "--config.knn.window=9")[1]]
    words = [f"--run={name}:{path}" for name, path in zip(("near", "far"), runs, strict=True)]
    words += ["--resamples=100", "--nopicture", "--protocol=uniform4"]
    assert compare.main([*words, f"--out={tmp_path}"]) == 0
    notes = json.loads((tmp_path / "compare.json").read_text())["notes"]
    leaks = [note for note in notes if note.startswith("LEAK OR REPEATS")]
    assert leaks == [
        "LEAK OR REPEATS: rec/uniform4: in_history puts targets at 25.0% of their lists, chance is "
        "50% (near, far)."
    ]
    assert f"- {leaks[0]}" in capsys.readouterr().out
