"""The stage `pretrain_cf`, trained as a run trains it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from common.data.batches import training_source
from common.data.folder import load_dataset
from common.data.timeline import build_timeline
from common.data.view import View
from common.ranking.protocols import make_validator
from common.training.loop import train
from common.training.mesh import make_mesh
from common.training.settings import TrainSettings
from common.training.task import Task, judge_as
from gensr_jax.graph import build_graph
from gensr_jax.lightgcn import init_lightgcn
from gensr_jax.pretrain import PretrainSettings, is_collaborative, make_pretrain_stage
from launch import prepare
from launch.validation import open_validators

VIEW = View(rec_length=5, search_length=5, clicks=1)
SETTINGS = PretrainSettings(
    learning_rate=0.02, batch_size=128, epochs=12, eval_every_epochs=4, patience=0
)


def make_task(dataset):
    graph = {name: jnp.asarray(array) for name, array in build_graph(dataset).items()}

    def init(key, batch):
        params = init_lightgcn(key, dataset.n_users, dataset.n_items, 16)
        return params | {"model": {"other": jnp.ones(3)}}, graph

    return Task(
        name="cf",
        tasks=("rec", "search"),
        view=VIEW,
        init=init,
        stages=(make_pretrain_stage(SETTINGS, VIEW),),
        score=lambda *_: pytest.fail("the stage has its own score"),
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cf")
    assert prepare.main(["--source=synthetic", "--preset=tiny", f"--out={folder / 'tiny'}"]) == 0
    dataset = load_dataset(folder / "tiny", "leave_one_out_joint")
    timeline = build_timeline(dataset.rec, dataset.search, dataset.n_users, dataset.history_order)
    task, mesh = make_task(dataset), make_mesh(jax.devices()[:1])
    config = ConfigDict({"eval": {"batch_size": 128, "filter_seen": "history"}})

    def open_source(stage):
        return training_source(dataset, timeline, stage.view, stage.batch_size, 0, stage.epochs)

    result = train(
        task,
        open_source,
        open_validators(config, task, dataset, timeline, mesh),
        TrainSettings(show_progress=False, tensorboard=False),
        folder / "run",
        0,
        mesh,
    )
    return task, dataset, timeline, result


def test_it_learns_more_than_popularity(trained):
    task, dataset, timeline, result = trained
    judged = judge_as(task, task.stages[0])
    ours = make_validator(judged, dataset, timeline, protocols=("full",))
    rows = dataset.rows["rec", "train"]
    counts = jnp.asarray(np.bincount(dataset.rec.item[rows], minlength=dataset.n_items + 1))

    def score_popular(params, constants, batch, items):
        return jnp.broadcast_to(counts[items].astype(jnp.float32), (len(batch["user"]), len(items)))

    popular = make_validator(
        task._replace(score_catalogue=score_popular), dataset, timeline, protocols=("full",)
    )
    key = "rec/full/NDCG@10"
    learned = ours(result.params, result.constants)
    assert learned[key] > 1.3 * popular({}, {})[key]
    assert result.stages[0].best_value == pytest.approx(learned[key])


def test_only_its_own_parameters_move(trained):
    _, _, _, result = trained
    np.testing.assert_array_equal(result.params["model"]["other"], np.ones(3))
    assert not result.params["cf"]["item"][0].any()
    assert is_collaborative("cf/item")
    assert not is_collaborative("model/cf_view/kernel")


def test_every_train_row_is_a_target(trained):
    task, dataset, timeline, _ = trained
    stage = task.stages[0]
    source = training_source(dataset, timeline, stage.view, 128, 0, 1)
    assert source.n_rows == sum(len(dataset.rows[name, "train"]) for name in ("rec", "search"))
    assert source[0]["negatives"].shape == (128, 1)
    assert source[0]["rec_item"].shape == (128, 0)
