"""The Python API: the examples of its docstrings, and its rankings against the evaluator's."""

from __future__ import annotations

import dataclasses
import doctest
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from common.data.names import resolve_users
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
        (lambda run: run.rank(["u03"], task="search"), "does not rank the catalogue"),
        (
            lambda run: run.rank(["u03"], task="search", at="now"),
            "a search needs a query; use at='t",
        ),
        (lambda run: run.rank(["u03"], task="foo"), "rank: task='foo'; use 'rec' or 'search'"),
        (lambda run: run.rank("u03"), "rank: users='u03': is no list; give one"),
        (lambda run: run.rank(None), "rank: users=None: is no list"),
        (lambda run: run.rank([]), "rank: users: names nobody"),
        (lambda run: run.rank([3]), "rank: users: 3 is no text; give raw ids"),
        (lambda run: run.rank(["u03", "#3"]), "rank: users: u03 comes twice; name each user once"),
        (lambda run: run.rank(["u03,u04"]), "rank: users: no user 'u03,u04' in "),
        (lambda run: run.rank(["u03 "]), "rank: users: no user 'u03 ' in "),
        (lambda run: run.explain("u03"), "explain: users='u03': is no list"),
        (
            lambda run: run.explain(["u03"], count=-1),
            "explain: count=-1: give a whole number of at",
        ),
        (lambda run: open_run(None), "open_run: workdir=None: is no path"),
        (lambda run: open_run(run.workdir, data=5), "open_run: data=5: is no path"),
        (lambda run: train(run.settings, workdir=None), "train: workdir=None: is no path"),
        (lambda run: train(None, workdir="x"), "config is null; give FILE[:arg]"),
        (lambda run: train(5, workdir="x"), "config is the whole number 5; give FILE[:arg]"),
        (lambda run: train({"method": "lcr"}, workdir="x", data="d"), "d: no such folder"),
        (lambda run: train({"method": "lcr"}, workdir="x"), "config.data.path: missing; give"),
        (
            lambda run: train(run.settings, workdir="x", train={"epochs": 1}),
            "config.train: is a group; give config.train.epochs=...",
        ),
        (lambda run: open_run("nowhere"), "is no run"),
        (lambda run: prepare("x", sourc="tables"), "no option 'sourc'; did you mean source?"),
        (lambda run: prepare("x", source="csv"), "source 'csv': unknown; use synthetic or tables"),
        (lambda run: prepare("x"), "raw: missing"),
        (lambda run: prepare(None), "prepare: out=None: is no path"),
        (lambda run: prepare("x", raw="y"), "y: no such folder; check raw"),
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


@pytest.mark.parametrize("count", [-1, 0, 2.5, "3", None, True])
def test_a_count_is_a_whole_number_of_places(run, count):
    with pytest.raises(InputError) as caught:
        run.rank(["u03"], count=count)
    assert str(caught.value) == f"rank: count={count!r}: give a whole number of at least 1"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overwrite": "no"}, "overwrite='no': give True or False"),
        ({"seed": 1.5}, "seed=1.5: give a whole number"),
        ({"seed": "x"}, "seed='x': give a whole number"),
        ({"seed": -1}, "seed=-1: is negative; use 0 or more"),
        ({"seed": 2**70}, f"seed={2**70}: is too large; use one below 2^63"),
        ({"negatives": "9"}, "negatives='9': give a whole number"),
        ({"negatives": float("nan")}, "negatives=nan: give a whole number"),
        ({"negatives": -1}, "negatives=-1: is negative; use 0 for no lists"),
        ({"click_window": "1"}, "click_window='1': give a number"),
        ({"click_window": 1}, "click_window: is for source=tables only; leave it out"),
        ({"raw": 5}, "raw=5: give text"),
        ({"splits": "global_time"}, "splits='global_time': give a list of texts"),
        ({"t1": 5}, "t1: is for the split global_time only; add it to splits"),
        ({"history_order": "x"}, "history_order=x: unknown; use time or source"),
        ({}, "datasets/tiny: is not empty; use another out or overwrite"),
    ],
)
def test_options_have_the_bounds_of_the_flags_and_their_own_names(
    place, monkeypatch, options, message
):
    monkeypatch.chdir(place)
    before = Path("datasets/tiny/dataset.json").stat()
    with pytest.raises(InputError) as caught:
        prepare("datasets/tiny", source="synthetic", preset="tiny", **options)
    assert str(caught.value) == message
    assert Path("datasets/tiny/dataset.json").stat() == before


def test_a_user_id_with_a_comma_is_one_user(run, place, tmp_path):
    """The ids of users 3 and 4 become "smith" and "j", and that of user 5 "smith, j"."""
    moved = tmp_path / "named"
    shutil.copytree(place / "datasets/tiny", moved)
    table = pq.read_table(moved / "users.parquet")
    names = table["raw_id"].to_pylist()
    names[2:5] = ["smith", "j", "smith, j"]
    column = table.schema.get_field_index("raw_id")
    table = table.set_column(column, table.schema.field(column), pa.array(names))
    pq.write_table(table, moved / "users.parquet")
    renamed = dataclasses.replace(run, dataset=dataclasses.replace(run.dataset, path=moved))
    ranked = renamed.rank(["smith, j"], count=4)
    assert set(ranked["user"].to_pylist()) == {"smith, j"}
    assert ranked["item"].to_pylist() == run.rank(["#5"], count=4)["item"].to_pylist()
    both = resolve_users(renamed.dataset, "smith, j,#5")
    assert [user.number for user in both] == [3, 4, 5]


def test_a_run_on_its_way_is_told(run, place, tmp_path, capsys):
    assert run.finished
    workdir = tmp_path / "half"
    shutil.copytree(run.workdir, workdir)
    for name in ("results.json", "ranks.parquet"):
        (workdir / name).unlink()
    capsys.readouterr()
    half = open_run(workdir, data=place / "datasets/tiny")
    assert not half.finished
    assert capsys.readouterr().err == (
        f"warning: {workdir}: not finished; its best parameters so far are used\n"
    )
    assert half.rank(["u03"], count=1).num_rows == 1
    assert repr(half) == f"<FinishedRun {workdir}: lcr on tiny, step 9, not finished>"


def test_a_run_without_a_data_path_names_the_key(run, tmp_path):
    saved = json.loads((run.workdir / "config.json").read_text())
    saved["config"]["data"]["path"] = ""
    (tmp_path / "config.json").write_text(json.dumps(saved))
    with pytest.raises(
        InputError, match=r"config\.json: config\.data\.path: missing; give data=DIR"
    ):
        open_run(tmp_path)
