"""`--mode=explain` of GenSR: ranks, histories and weights of both tasks, and what is refused."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from common.data.names import User, resolve_users
from common.ranking.ranks import read_ranks
from common.ranking.seen import find_seen
from common.runs.cases import choose_case, find_case
from gensr_jax.explain_picture import draw_filter
from gensr_jax.explain_text import format_filter
from launch import main as train_command
from launch.command import run_command


@pytest.fixture
def explain(gensr, gensr_copy, capsys):
    """explain(*flags) -> exit code, what was printed and the folder of the explanations."""

    def run(*more):
        flags = [*gensr.flags, f"--workdir={gensr_copy}", "--mode=explain", *more]
        capsys.readouterr()
        code = run_command(train_command.main, flags)
        out, err = capsys.readouterr()
        return code, out, err, gensr_copy / "explain"

    return run


def check_weights(told, length=5):
    """The weights of each candidate over the history and "no history" sum to 1 in each view."""
    assert told["views"] == ["cf", "semantic"]
    assert len(told["history"]) <= length
    entries = [*told["history"], told["no_history"]]
    for view in told["views"]:
        grid = np.array([entry["weights"][view] for entry in entries])
        assert grid.shape == (len(entries), len(told["candidates"]))
        np.testing.assert_allclose(grid.sum(axis=0), 1, rtol=1e-5)


def test_both_tasks_are_explained(gensr, explain, dataset):
    ranks = read_ranks(gensr.workdir / "ranks.parquet")
    number = int(ranks["search", "full"].user[0])
    only_rec = int(np.setdiff1d(ranks["rec", "full"].user, ranks["search", "full"].user)[0])
    code, out, err, folder = explain(f"--users=#{number},#{only_rec}")
    assert code == 0, err
    name, other = (user.raw_id for user in resolve_users(dataset, f"#{number},#{only_rec}"))
    ends = ("json", "txt", "png", "csv")
    expected = {f"{n}.{end}" for n in (name, other) for end in ends} | {"search"}
    assert {path.name for path in folder.iterdir()} == expected
    assert {p.name for p in (folder / "search").iterdir()} == {f"{name}.{end}" for end in ends}
    for task, place in (("rec", folder), ("search", folder / "search")):
        told = json.loads((place / f"{name}.json").read_text())
        table = ranks[task, "full"]
        line = int(np.flatnonzero(table.user == number)[-1])
        row = table.row[line : line + 1]
        target = told["target"]
        assert (told["task"], told["part"]) == (task, "test")
        assert target["item"] == dataset.events(task).target[row[0]]
        assert (target["rank"], target["rank_if_ties_lost"]) == (
            table.rank_low[line],
            table.rank_high[line],
        )
        seen = find_seen(dataset, task, row, "history").items
        assert target["ranked_items"] == dataset.n_items - len(seen)
        assert told["found"] == {"by": "lightgcn", "count": 20}
        best = [item["item"] for item in told["recommendations"]]
        assert len(set(best)) == 20
        assert not set(best) & set(seen.tolist())
        assert target["found"] == (target["item"] in best)
        scores = [item["score"] for item in told["recommendations"]]
        assert scores == sorted(scores, reverse=True)
        assert sorted(item["found_rank"] for item in told["recommendations"]) == list(range(1, 21))
        # The candidates: the target, and the three best others.
        shown = [item["item"] for item in told["candidates"]]
        assert shown == [target["item"], *[i for i in best if i != target["item"]][:3]]
        check_weights(told)
        # The history: the newest clicks of both services before the target, newest first.
        assert {item["item"] for item in told["history"]} <= {
            *dataset.timeline.history_items(task, row)[1].tolist(), target["item"]
        }  # fmt: skip
        ages = [item["age_ms"] for item in told["history"]]
        assert ages == sorted(ages)
        assert all((e["service"] == "search") == (e["query"] is not None) for e in told["history"])
        assert (told["query"] is None) == (task == "rec")
        assert (place / f"{name}.txt").read_text() in out
        assert (place / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert max(len(line) for line in out.splitlines()) <= 100


def test_the_retriever_of_the_run_finds_the_items(finished, explain):
    ranks = read_ranks(finished / "ranks.parquet")["rec", "full"]
    number = int(ranks.user[0])
    code, out, err, folder = explain(f"--users=#{number}", f"--config.retriever={finished}")
    assert code == 0, err
    told = json.loads(next(folder.glob("*.json")).read_text())
    assert (told["found"]["by"], told["found"]["run"]) == ("lcr", str(finished))
    line = int(np.flatnonzero(ranks.user == number)[-1])
    assert told["target"]["found_rank"] == ranks.rank_low[line]
    assert told["target"]["found"] == (ranks.rank_low[line] <= 20)
    assert "found: 20 items by lcr; the target is " in out


def test_a_run_without_anything_that_finds_items_is_refused(explain):
    code, _, err, folder = explain("--users=u03", "--config.eval.retrieve=0")
    assert code == 2
    line = "error: --mode=explain: nothing finds items of the catalogue for this run; give --config"
    assert err.splitlines()[-1].startswith(line)
    assert not folder.exists()


def test_search_targets_are_found_or_not_there(dataset):
    rows = dataset.rows["search", "test"]
    user = int(dataset.search.user[rows[0]])
    case = find_case(dataset, User("x", user), 1, "search")
    assert (case.row, case.part, case.task) == (
        rows[dataset.search.user[rows] == user][-1],
        "test",
        "search",
    )
    assert find_case(dataset, User("x", user), 10**6, "search") is None


def test_what_comes_next_leaves_the_rows_of_others_in_place(dataset):
    """Also where the seen items are those of the training rows."""
    none = np.zeros(0, np.int64)
    rows = {key: none if key[1] != "train" else rows for key, rows in dataset.rows.items()}
    bare = dataclasses.replace(dataset, rows=rows)
    case = choose_case(bare, User("u03", 3), 1)
    assert case.part == "next"
    moved = case.dataset.rows["rec", "train"]
    assert case.row not in moved
    np.testing.assert_array_equal(
        case.dataset.rec.item[moved], dataset.rec.item[rows["rec", "train"]]
    )
    seen = find_seen(case.dataset, "rec", np.array([case.row]), "train").items
    own = rows["rec", "train"][dataset.rec.user[rows["rec", "train"]] == 3]
    assert set(dataset.rec.item[own]) <= set(seen.tolist())


def make_explanation(history, views=("cf", "semantic"), task="rec", target=True, found=True):
    item = {"item": 5, "raw_id": "i5", "title": "A $5 title " + "that goes on " * 12}
    best = [{"rank": n, **item, "item": n, "score": 2.0, "found_rank": 9} for n in (1, 2, 3)]
    true = item | {"time": "2024-01-01", "score": 1.0, "rank": 3, "rank_if_ties_lost": 4,
                   "ranked_items": 9, "found": found, "found_rank": 7}  # fmt: skip
    candidates = ([{"role": "target", **true}] if target else []) + [
        {"role": "recommended", **entry} for entry in best
    ]
    weights = {view: [1 / (history + 1)] * len(candidates) for view in views}
    event = item | {"time": "t", "age": "3 d", "age_ms": 1, "weights": weights}
    kinds = [{"service": "rec", "query": None}, {"service": "search", "query": "long query " * 9}]
    return {
        "user": "someone", "user_number": 1, "part": "test", "split": "s", "method": "gensr",
        "dataset": {"name": "data", "sha256": "0"}, "task": task, "time": "2024-01-01",
        "query": "a query " * 20 if task == "search" else None, "target": true if target else None,
        "found": {"by": "lightgcn", "count": 3}, "candidates": candidates, "views": list(views),
        "history": [event | kinds[n % 2] for n in range(history)],
        "no_history": {"weights": weights}, "recommendations": best,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"history": 3},
        {"history": 0},
        {"history": 20, "task": "search", "found": False},
        {"history": 2, "views": ("cf",)},
        {"history": 2, "target": False},
    ],
)
def test_every_shape_is_told_and_drawn(changes, tmp_path):
    explanation = make_explanation(**changes)
    text = format_filter(explanation)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert ("nothing was clicked before" in text) == (changes["history"] == 0)
    assert text.count("recommended: i5 A $5") == 3
    assert text.count("  rec     i5 A $5") == (changes["history"] + 1) // 2
    assert text.count("  search  i5 A $5") == changes["history"] // 2
    assert ("query: a query" in text) == (changes.get("task") == "search")
    assert ("clicked in a search" in text) == (changes["history"] > 1)
    draw_filter(tmp_path / "u.png", explanation)
    assert [path.name for path in tmp_path.iterdir()] == ["u.png"]
