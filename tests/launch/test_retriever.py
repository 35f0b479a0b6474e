"""`--config.retriever=WORKDIR`: a finished run finds the items that GenSR ranks again."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from common.data.fingerprint import describe_data
from common.data.folder import load_dataset
from common.data.view import View
from common.ranking.ranks import read_ranks
from common.ranking.results import read_results
from common.runs.config_file import load_config_file
from common.runs.folder import claim_workdir
from common.runs.methods import settle
from common.runs.retriever import attach_retriever
from common.training.mesh import make_mesh
from common.training.task import Retriever, Task
from gensr_jax.settings import Eval, Settings
from launch import main as train_command
from launch.command import run_command

KNN = str(Path(__file__).resolve().parents[2] / "baselines_jax/configs/item_knn_demo.py")


@pytest.fixture
def evaluate(gensr, gensr_copy, capsys):
    """evaluate(*flags) -> exit code, what was printed, the last error line, and the workdir."""

    def run(*more, mode="evaluate"):
        flags = [*gensr.flags, f"--workdir={gensr_copy}", f"--mode={mode}", *more]
        capsys.readouterr()
        code = run_command(train_command.main, flags)
        out, err = capsys.readouterr()
        return code, out, (err.splitlines() or [""])[-1], gensr_copy

    return run


def test_the_run_of_lcr_finds_and_gensr_ranks(gensr, finished, evaluate):
    code, out, error, workdir = evaluate(f"--config.retriever={finished}")
    assert code == 0, error
    lcr, results = (read_results(place / "results.json") for place in (finished, workdir))
    before = read_results(gensr.workdir / "results.json")
    # The recall is LCR's own HR@20: the share of its ranks that are 20 or better.
    alone = read_ranks(finished / "ranks.parquet")["rec", "full"]
    assert (alone.rank_low == alone.rank_high).all()
    told = results["protocol"]["retrieved"]
    assert told["rec/full"].pop("step") > 0
    assert told["rec/full"] == {
        "count": 20,
        "recall": (alone.rank_low <= 20).mean(),
        "by": "lcr",
        "run": str(finished),
    }
    assert told["search/full"] == before["protocol"]["retrieved"]["search/full"]
    found = results["sanity"]["retriever"]
    for metric, bounds in lcr["tasks"]["rec"]["full"].items():
        assert found["rec"]["full"][metric]["value"] == bounds["value"]
    # The same rows; what was not found keeps LCR's rank, what was found is among the first 20.
    ranks = read_ranks(workdir / "ranks.parquet")
    final, again = ranks["rec", "full"], alone.rank_low <= 20
    np.testing.assert_array_equal(final.row, alone.row)
    np.testing.assert_array_equal(final.rank_low[~again], alone.rank_low[~again])
    assert (final.rank_high[again] <= 20).all()
    assert (final.rank_low[again] != alone.rank_low[again]).any()
    # Nothing else changes.
    old = read_ranks(gensr.workdir / "ranks.parquet")
    for key in old.keys() - {("rec", "full")}:
        np.testing.assert_array_equal(np.stack(ranks[key]), np.stack(old[key]), str(key))
    assert "  20 items found by lcr (step " in out
    assert "  20 items found by lightgcn, ranked again; recall of the target 0." in out


def test_a_method_without_training_brings_its_own_view(tiny, tmp_path):
    """Item kNN; that all rows are ranked whatever its min_history is a test of the evaluator."""
    dataset = load_dataset(tiny)
    knn = load_config_file(KNN)
    knn.data.path, knn.data.min_history = str(tiny), 8
    claim_workdir(tmp_path, settle(knn), describe_data(dataset))
    (tmp_path / "results.json").write_text("{}")
    config = Settings(retriever=str(tmp_path), eval=Eval(retrieve=15))
    first = Retriever("first", lambda *_: None, 20)
    task = Task(
        name="slow", tasks=("rec", "search"), view=View(), init=lambda *_: ({}, {}), stages=(),
        score=lambda *_: None, retrievers={"rec": first, "search": first},
    )  # fmt: skip
    mesh = make_mesh(jax.devices()[:1])
    found = attach_retriever(config, task, dataset, mesh).retrievers
    assert found["search"] is first
    assert (found["rec"].name, found["rec"].count) == ("item_knn", 15)
    assert found["rec"].origin == {"run": str(tmp_path)}
    assert found["rec"].other.view.min_history == 8
    assert found["rec"].other.constants["items"].shape[0] == dataset.n_items + 1
    assert attach_retriever(Settings(), task, dataset, mesh) is task


def test_what_cannot_retrieve_is_refused(gensr, finished, evaluate, tiny, tmp_path):
    def refuse(place, *more):
        code, _, error, workdir = evaluate(f"--config.retriever={place}", *more)
        assert code == 2
        assert not (workdir / "results.json").exists()
        assert error.startswith(f"error: config.retriever = {place}: "), error
        return error

    def copy(name, **changes):
        folder = tmp_path / name
        folder.mkdir()
        saved = json.loads((finished / "config.json").read_text())
        parts = saved["dataset"]["parts"]
        saved["dataset"]["parts"] = {n: v for n, v in (parts | changes).items() if v is not None}
        (folder / "config.json").write_text(json.dumps(saved))
        (folder / "results.json").write_text("{}")
        return folder

    unfinished = copy("unfinished")
    (unfinished / "results.json").write_text(json.dumps({"model": {"finished": False}}))
    assert "is no finished run" in refuse(unfinished)
    (unfinished / "results.json").unlink()
    assert "is no finished run" in refuse(unfinished)
    assert "is no finished run" in refuse(tmp_path / "nowhere")
    tables = refuse(copy("d", tables="0" * 64))
    assert "was made on other data: the tables are 000000000000 there and " in tables
    history = refuse(copy("h", history="0" * 64))
    assert "was made on other data: the history rule is 000000000000 there and " in history
    own = "split.leave_one_out_joint"
    assert "the split leave_one_out_joint is 000000000000 there" in refuse(
        copy("c", **{own: "0" * 64})
    )
    other = refuse(copy("s", **{own: None, "split.leave_one_out": "0" * 64}))
    assert "the split is leave_one_out there and leave_one_out_joint here; give a run on" in other
    assert "the method gensr does not rank the catalogue" in refuse(gensr.workdir)
    assert "config.eval.retrieve = 0" in refuse(finished, "--config.eval.retrieve=0")


def test_training_goes_on_with_the_same_retriever_only(finished, evaluate):
    code, _, error, _ = evaluate(f"--config.retriever={finished}", mode="train")
    assert code == 2
    assert f"config.retriever is '' there and '{finished}' here" in error
    code, _, error, _ = evaluate("--config.eval.batch_size=8", mode="train")
    assert code == 2
    assert "config.eval.batch_size is 16 there and 8 here" in error
