"""The Python API: the examples of its docstrings, and its rankings against the evaluator's."""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from common.errors import InputError
from common.ranking.ranks import read_ranks
from common.runs import api, finished, open_run, prepare, train


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder in which the examples of the API were run: datasets/tiny and runs/tiny."""
    place = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for module in (api, finished):
            done = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
            assert done.attempted > 1
            assert not done.failed
    return place


@pytest.fixture(scope="module")
def run(place):
    return open_run(place / "runs/tiny", data=place / "datasets/tiny")


def test_it_knows_its_settings_data_and_figures(run):
    assert (run.settings.method, run.settings.train.epochs) == ("lcr", 1)
    assert run.trained_on["name"] == "tiny"
    figure = run.results["rec"]["full"]["NDCG@10"]
    assert figure.low <= figure.value <= figure.high
    assert run.step == 9


def test_places_are_those_of_the_evaluator(run):
    """A target at place r of its user's list has rank r, and one that is not listed a lower."""
    ranks = read_ranks(run.workdir / "ranks.parquet")["rec", "full"]
    newest = {int(user): index for index, user in enumerate(ranks.user)}
    table = run.rank([f"#{user}" for user in newest], at="test", count=10)
    lists = np.array(table["item"].to_pylist()).reshape(-1, 10)
    for items, index in zip(lists, newest.values(), strict=True):
        target = run._names.item(int(run.dataset.rec.item[ranks.row[index]]))["raw_id"]
        place = 1 + items.tolist().index(target) if target in items else 11
        if place <= 10:
            assert ranks.rank_low[index] <= place <= ranks.rank_high[index]
        else:
            assert ranks.rank_high[index] > 10


def test_a_ranking_of_now_leaves_out_what_the_user_knows(run):
    table = run.rank(["u03", "#5", "u01"], count=7)
    assert table.schema.names == ["user", "place", "item", "score", "title"]
    rows = table.to_pylist()
    assert [row["place"] for row in rows] == [*range(1, 8)] * 3
    assert [row["user"] for row in rows[::7]] == ["u03", "u05", "u01"]
    scores = np.array(table["score"]).reshape(3, 7)
    assert (np.diff(scores, axis=1) <= 0).all()
    rec = run.dataset.rec
    mine = rec.item[(rec.user == 3) & rec.positive]
    known = {run._names.item(int(item))["raw_id"] for item in mine}
    assert not known & {row["item"] for row in rows[:7]}
    alone = run.rank(["u03"], count=7)
    assert alone["item"].to_pylist() == table["item"].to_pylist()[:7]


def test_explanations_are_arrays_tables_and_a_picture(run, tmp_path):
    (explained,) = run.explain(["u03"])
    assert (explained.user, explained.task, explained.part) == ("u03", "rec", "test")
    steps = run.settings.reasoner.steps
    assert explained.evidence.shape == (explained.searches.num_rows + 1, steps)
    np.testing.assert_allclose(explained.evidence.sum(axis=0), 1.0, atol=1e-5)
    assert isinstance(explained.recommendations, pa.Table)
    explained.draw(tmp_path / "u.png")
    assert (tmp_path / "u.png").read_bytes().startswith(b"\x89PNG")
    test = run.rank(["u03"], at="test", count=5)
    assert explained.recommendations["item"].to_pylist()[:5] == test["item"].to_pylist()


def test_the_same_training_again_is_opened(run, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    again = train(run.settings, workdir="runs/tiny")
    assert again.results == run.results
    assert "trained 9 steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: run.rank(["nobody"]), "no user 'nobody'"),
        (lambda run: run.rank(["u03"], at="then"), "rank: at='then'; use 'now' or 'test'"),
        (lambda run: run.rank(["u03"], task="search", at="test"), "does not rank the catalogue"),
        (lambda run: open_run("nowhere"), "is no run"),
        (lambda run: prepare("x", sourc="tables"), "no option 'sourc'; did you mean source?"),
        (lambda run: prepare("x", source="csv"), "source 'csv': unknown; use synthetic or tables"),
        (lambda run: prepare("x"), "--raw: missing"),
        (
            lambda run: train(run.settings, workdir="x", **{"train.epoch": 1}),
            "config.train.epoch: no such key; did you mean config.train.epochs",
        ),
        (
            lambda run: train(run.settings, workdir="x", **{"train.epochs": 0}),
            "config.train.epochs = 0: give a whole number of at least 1",
        ),
        (
            lambda run: train(run.settings, workdir="x", **{"train.learning_rate": 10**400}),
            "config.train.learning_rate = a number of too many digits: give a number above 0",
        ),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(run, call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        call(run)
    assert message in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_run_whose_data_are_others_is_refused(run, place, tmp_path):
    other = prepare(tmp_path / "other", source="synthetic", preset="tiny", seed=1)
    with pytest.raises(InputError, match=r"is not what .* was trained on"):
        open_run(run.workdir, data=other)
    moved = tmp_path / "moved"
    shutil.copytree(place / "runs/tiny", moved)
    assert open_run(moved, data=Path(place / "datasets/tiny")).workdir == moved
