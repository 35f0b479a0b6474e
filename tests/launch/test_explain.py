"""`--mode=explain`: what is written about single users, and what is refused."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from common.data.batches import evaluation_source
from common.data.names import Names, User, resolve_users
from common.data.view import View
from common.errors import InputError
from common.ranking.ranks import read_ranks
from common.runs.cases import choose_case
from launch.explain import name_file
from lcr_jax.explain_picture import draw_evidence
from lcr_jax.explain_text import format_explanation

ROOT = Path(__file__).resolve().parents[2]
KNN = ROOT / "baselines_jax/configs/item_knn_demo.py"


def find_user(dataset, searching):
    """The first user with (or without) any search."""
    users = np.arange(1, dataset.n_users + 1)
    return int(users[np.isin(users, dataset.search.user) == searching][0])


def test_users_are_explained(finished, run, dataset):
    some, none = (find_user(dataset, searching) for searching in (True, False))
    raw = resolve_users(dataset, f"#{none}")[0].raw_id
    outcome = run(finished, "--mode=explain", f"--users=#{some},{raw},#{some}")
    assert outcome.code == 0, outcome.err
    folder = finished / "explain"
    names = [user.raw_id for user in resolve_users(dataset, f"#{some},#{none}")]
    expected = {f"{name}.{end}" for name in names for end in ("json", "txt", "png", "csv")}
    assert {path.name for path in folder.iterdir()} == expected
    ranks = read_ranks(finished / "ranks.parquet")["rec", "full"]
    for name, number in zip(names, (some, none), strict=True):
        told = json.loads((folder / f"{name}.json").read_text())
        place = int(np.flatnonzero(ranks.user == number)[-1])
        assert told["part"] == "test"
        assert told["target"]["rank"] == ranks.rank_low[place]
        assert told["target"]["rank_if_ties_lost"] == ranks.rank_high[place]
        assert len(told["recommendations"]) == 20
        known = {event["item"] for event in told["history"]}
        assert not known & {item["item"] for item in told["recommendations"]}
        assert told["steps"] == len(told["gates"]) == len(told["state_norms"]) - 1 == 2
        entries = [*told["searches"], told["null_event"]]
        columns = np.array([[*e["evidence"]["steps"], e["evidence"]["mean"]] for e in entries])
        np.testing.assert_allclose(columns.sum(axis=0), 1, rtol=1e-5)
        np.testing.assert_allclose(columns[:, :2].mean(axis=1), columns[:, 2], rtol=1e-5)
        assert (folder / f"{name}.txt").read_text() in outcome.out
        assert (folder / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        events = dataset.timeline.ends("rec", ranks.row[place : place + 1])
        assert len(told["history"]) == min(8, int((events[0] - events[2])[0]))
        assert len(told["searches"]) == min(6, int((events[1] - events[3])[0]))
    assert told["searches"] == []
    assert told["null_event"]["evidence"] == {"steps": [1.0, 1.0], "mean": 1.0}
    assert "searches: none before this moment" in outcome.out
    assert max(len(line) for line in outcome.out.splitlines()) <= 100


def test_count_and_picture_are_free(finished, run, tmp_path):
    workdir = tmp_path / "copy"
    shutil.copytree(finished, workdir, ignore=shutil.ignore_patterns("explain"))
    outcome = run(workdir, "--mode=explain", "--users=u03", "--count=3", "--nopicture")
    assert outcome.code == 0, outcome.err
    assert sorted(path.name for path in (workdir / "explain").iterdir()) == [
        "u03.csv", "u03.json", "u03.txt",
    ]  # fmt: skip
    told = json.loads((workdir / "explain/u03.json").read_text())["recommendations"]
    head, *rows = csv.reader((workdir / "explain/u03.csv").open(newline=""))
    assert head == ["place", "item", "score", "title"]
    assert [row[1] for row in rows] == [item["raw_id"] for item in told]
    assert len(rows) == 3
    for item in told:
        assert f"  {item['raw_id']}  {item['title']}" in outcome.out


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--mode=explain", "--users=u03,u3x"], "--users: no user 'u3x' in "),
        (["--mode=explain", "--users=#65"], "--users: no user #65; dense ids go from #1 to #64"),
        (["--mode=explain", "--users=,"], "--users: names nobody;"),
        (["--mode=explain"], "--users: goes with --mode=explain"),
        (["--users=u03"], "--users: goes with --mode=explain"),
        (["--mode=explain", "--users=u03", f"--config={KNN}"], "--mode=explain: the method item_"),
    ],
)
def test_bad_requests_leave_nothing(flags, line, tiny, finished, run, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text((finished / "config.json").read_text())
    outcome = run(workdir, *flags, *([f"--config.data.path={tiny}"] if len(flags) == 3 else []))
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1].startswith(f"error: {line}")
    assert not (workdir / "explain").exists()


def test_a_folder_without_a_run_is_refused(run, tmp_path):
    outcome = run(tmp_path / "none", "--mode=explain", "--users=u03")
    assert outcome.code == 2
    assert "no run to explain; train first" in outcome.err


def test_without_matplotlib_the_texts_are_written(finished, run, monkeypatch, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    for name in ("config.json", "checkpoints"):
        (workdir / name).symlink_to(finished / name)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    outcome = run(workdir, "--mode=explain", "--users=u03")
    assert outcome.code == 2
    assert "pip install snr-jax[report]" in outcome.err.splitlines()[-1]
    assert {p.name for p in (workdir / "explain").iterdir()} == {"u03.csv", "u03.json", "u03.txt"}


def test_parts_are_tried_in_order(dataset):
    user = User("u03", 3)
    test = choose_case(dataset, user, 1)
    assert (test.part, dataset.rec.user[test.row]) == ("test", 3)
    none = np.zeros(0, np.int64)
    rows = {**dataset.rows, ("rec", "test"): none}
    assert choose_case(dataclasses.replace(dataset, rows=rows), user, 1).part == "valid"
    rows[("rec", "valid")] = none
    case = choose_case(dataclasses.replace(dataset, rows=rows), user, 1)
    assert case.part == "next"
    view = View(rec_length=40, search_length=40, negatives=0)
    batch = evaluation_source(case.dataset, view, np.array([case.row]), 2)[0]
    own = (dataset.rec.user == 3) & dataset.rec.positive
    assert (
        batch["rec_item"][0][batch["rec_mask"][0] != 0].tolist() == dataset.rec.item[own].tolist()
    )
    assert batch["search_mask"][0].sum() == (dataset.search.user == 3).sum()
    assert batch["order"][0].min() == 0
    ages = np.concatenate([batch["rec_age_ms"][0], batch["search_age_ms"][0]])
    assert ages[batch["order"][0] == 0].tolist() == [1]  # 1 ms after the newest event
    with pytest.raises(InputError, match=r"--users: u03 has \d+ event\(s\), the model needs"):
        choose_case(dataclasses.replace(dataset, rows=rows), user, 99)


def test_names_fall_back(dataset):
    names = Names(dataset)
    names._queries[0], names._titles[0] = "", None
    assert names.item(1) == {"item": 1, "raw_id": "i001", "title": None}
    assert names.query(1) == "query 1"
    assert name_file(User("a/b c", 7)) == "a_b_c-7"
    assert name_file(User("A1.b-2", 7)) == "A1.b-2"


def make_explanation(steps, searches):
    item = {"item": 5, "raw_id": "i5", "title": "A $5 title " + "that goes on " * 12}
    weight = 1 / (searches + 1)
    evidence = {"steps": [weight] * steps, "mean": weight}
    return {
        "user": "someone", "user_number": 1, "part": "test", "split": "s", "method": "lcr",
        "dataset": {"name": "data", "sha256": "0"},
        "target": item | {"time": "2024-01-01", "score": 1.0, "rank": 3, "rank_if_ties_lost": 4,
                          "ranked_items": 9},
        "history": [item | {"time": "2024-01-01"}],
        "steps": steps, "gates": [0.5] * steps, "state_norms": [1.0] * (steps + 1),
        "searches": [
            {"query": "long query " * 9, "query_made_up": False, "clicked": [item], "time": "t",
             "age": "3 d", "age_ms": 1, "evidence": evidence}
        ] * searches,
        "null_event": {"evidence": evidence},
        "recommendations": [{"rank": 1, **item, "score": 2.0}],
    }  # fmt: skip


@pytest.mark.parametrize(("steps", "searches"), [(0, 3), (0, 0), (1, 0), (3, 2), (6, 30)])
def test_every_shape_is_told_and_drawn(steps, searches, tmp_path):
    explanation = make_explanation(steps, searches)
    text = format_explanation(explanation)
    assert max(len(line) for line in text.splitlines()) <= 100
    assert "rank 3 to 4 (tied) of 9" in text
    assert text.count("  i5 A $5 title ") == 1  # in the history
    assert "target 2024-01-01: i5 A $5 title " in text
    assert text.count(" > i5 A $5") == searches
    assert ("no reasoning steps (K = 0)" in text) == (steps == 0 and searches > 0)
    draw_evidence(tmp_path / "u.png", explanation)
    assert [path.name for path in tmp_path.iterdir()] == ["u.png"]
