"""Each stage is judged by its own scores, and by the protocols of its own metrics."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from common.data.folder import load_dataset
from common.data.view import View, candidate_items
from common.errors import InputError
from common.ranking.results import read_results
from common.runs.validation import open_validators, settle_metrics
from common.training.mesh import make_mesh
from common.training.task import Stage, Stopping, Task
from gensr_jax.settings import CfSettings, Eval, Settings, Train
from launch import audit, prepare
from launch import main as train_command
from launch.command import run_command

ROOT = Path(__file__).resolve().parents[2]
CONFIG = Settings(eval=Eval(batch_size=256, filter_seen="history"))


def by_id(sign):
    """Ranks items by their number, up or down."""
    return lambda params, constants, batch: sign * candidate_items(batch).astype(jnp.float32)


def all_by_id(sign):
    def score(params, constants, batch, items):
        return jnp.broadcast_to(sign * items.astype(jnp.float32), (len(batch["user"]), len(items)))

    return score


def make_task(*stages):
    return Task(
        name="numbers",
        tasks=("rec",),
        view=View(rec_length=1, search_length=1, clicks=1),
        init=lambda key, batch: ({}, {}),
        stages=stages,
        score=by_id(1.0),
    )


def make_stage(name, metric, **changes):
    stage = Stage(name, lambda *_: None, View(), 8, 1, stopping=Stopping(metric=metric))
    return stage._replace(**changes)


@pytest.fixture(scope="module")
def data(tiny):
    dataset = load_dataset(tiny, "leave_one_out_joint")
    return dataset, make_mesh(jax.devices()[:1])


def test_every_stage_is_judged_by_its_own_scores(data):
    own = {"score": by_id(-1.0), "score_catalogue": all_by_id(-1.0)}
    first = make_stage("first", "rec/full/NDCG@10", **own)
    second = make_stage("second", "rec/uniform19/MRR")
    third = make_stage("third", "rec/popularity19/MRR")
    open_validator = open_validators(CONFIG, make_task(first, second, third), *data)
    assert open_validator(second) is open_validator(third)  # one set of batches, one program
    early, late = (open_validator(stage)({}, {}) for stage in (first, second))
    assert {name.split("/")[1] for name in early} == {"full"}
    assert {name.split("/")[1] for name in late} == {"uniform19", "popularity19"}
    # The other way round, the same rows have the mirrored ranks.
    turned = make_stage("turned", "rec/uniform19/HR@10", score=by_id(-1.0))
    mirrored = open_validators(CONFIG, make_task(turned), *data)(turned)({}, {})
    assert mirrored["rec/uniform19/HR@10"] != late["rec/uniform19/HR@10"]


def test_metrics_that_a_stage_will_not_have_are_named(data):
    with pytest.raises(InputError, match="nothing ranks the whole catalogue"):
        open_validators(CONFIG, make_task(make_stage("a", "rec/full/MRR")), *data)
    with pytest.raises(InputError, match=r"config\.train\.metric: no metric 'rec/full/F1'"):
        open_validators(CONFIG, make_task(make_stage("a", "rec/full/F1")), *data)
    with pytest.raises(InputError, match="is not of the form task/protocol/metric"):
        open_validators(CONFIG, make_task(make_stage("a", "MRR")), *data)


def without_lists(dataset):
    manifest = {**dataset.manifest, "candidates": {"leave_one_out_joint": {}}}
    return dataclasses.replace(dataset, manifest=manifest, load_lists=lambda task, part: {})


def test_without_lists_a_stage_is_judged_by_the_full_ranking(data, capsys):
    dataset, mesh = data
    config = replace(CONFIG, train=Train(metric="mean/uniform99/MRR"))
    stages = [make_stage("a", "mean/uniform99/MRR"), make_stage("b", "rec/full/HR@5")]
    task = make_task(*stages)._replace(score_catalogue=all_by_id(1.0))
    settled = settle_metrics(config, task, without_lists(dataset))
    assert [stage.stopping.metric for stage in settled.stages] == ["mean/full/MRR", "rec/full/HR@5"]
    assert settled.stages[1] is stages[1]
    told = capsys.readouterr().err
    assert "config.train.metric: 'mean/uniform99/MRR' needs the candidate lists uniform99" in told
    assert "has none: judged by mean/full/MRR" in told
    open_validator = open_validators(config, settled, without_lists(dataset), mesh)
    values = open_validator(settled.stages[0])({}, {})
    assert values["rec/full/MRR"] == values["mean/full/MRR"]
    message = r"config\.train\.metric: .* has none for .*; numbers ranks no catalogue; prepare"
    with pytest.raises(InputError, match=message):
        settle_metrics(config, make_task(stages[0]), without_lists(dataset))


def test_a_list_that_is_not_there_is_named_with_its_key_and_those_there_are(data):
    dataset = data[0]
    config = Settings(cf=CfSettings(metric="rec/uniform99/MRR"), train=Train(metric="rec/full/MRR"))
    task = make_task(make_stage("a", "rec/uniform99/MRR"))
    message = (
        r"^config\.cf\.metric: 'rec/uniform99/MRR' needs the candidate lists uniform99, .* has "
        r"uniform19, popularity19, bm25_19 for leave_one_out_joint; use uniform19, popularity19$"
    )
    with pytest.raises(InputError, match=message):
        settle_metrics(config, task, dataset)
    # There is such a list, but not of this task.
    with pytest.raises(InputError, match=r"needs the candidate lists bm25_19, .*; use uniform19,"):
        settle_metrics(config, make_task(make_stage("a", "rec/bm25_19/MRR")), dataset)
    kept = make_task(make_stage("a", "rec/uniform19/MRR"), make_stage("b", "rec/uniform99/F1"))
    assert settle_metrics(config, kept, dataset).stages == kept.stages


def test_data_without_lists_from_end_to_end(tmp_path):
    data, workdir = tmp_path / "data", tmp_path / "run"
    words = ["--source=synthetic", "--preset=tiny", "--negatives=0", f"--out={data}"]
    assert run_command(prepare.main, words) == 0
    assert load_dataset(data).load_lists("rec", "test") == {}
    assert not (data / "cand").exists()
    assert run_command(audit.main, [f"--data={data}"]) == 0
    words = [
        f"--config={ROOT / 'baselines_jax/configs/sasrec_tiny.py'}", f"--config.data.path={data}",
        "--config.train.metric=rec/uniform99/NDCG@5", "--config.train.epochs=1",
        "--config.train.batch_size=64", "--notensorboard", f"--workdir={workdir}",
    ]  # fmt: skip
    assert run_command(train_command.main, words) == 0
    assert set(read_results(workdir / "results.json")["tasks"]["rec"]) == {"full"}
