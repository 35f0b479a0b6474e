"""The stage `pretrain_cf`, trained as a run trains it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from common.data.batches import training_source
from common.data.dataset import Dataset
from common.data.events import RecEvents, make_searches
from common.data.view import View
from common.ranking.protocols import make_validator
from common.runs.validation import open_validators
from common.training.loop import train
from common.training.mesh import make_mesh
from common.training.settings import TrainSettings
from common.training.task import Task, judge_as
from gensr_jax.graph import build_graph
from gensr_jax.lightgcn import init_lightgcn
from gensr_jax.pretrain import is_collaborative, make_pretrain_stage
from gensr_jax.settings import PretrainSettings

USERS, EACH = 64, 7  # users, and items that each of them takes
VIEW = View(rec_length=5, search_length=5, clicks=1)
SETTINGS = PretrainSettings(
    learning_rate=0.05, batch_size=128, epochs=15, eval_every_epochs=5, patience=0
)


def make_task(dataset):
    graph = {name: jnp.asarray(array) for name, array in build_graph(dataset).items()}

    def init(key, batch):
        params = init_lightgcn(key, dataset.n_users, dataset.n_items, 16)
        return params | {"model": {"other": jnp.ones(3)}}, graph

    return Task(
        name="cf",
        tasks=("rec",),
        view=VIEW,
        init=init,
        stages=(make_pretrain_stage(SETTINGS, VIEW),),
        score=lambda *_: pytest.fail("the stage has its own score"),
    )


def make_groups(seed=0):
    """Users of four groups, each of which takes the items of its own block; the last is held out.

    What a user takes is random otherwise, so only who else took it tells which items are left.
    """
    rng = np.random.default_rng(seed)
    n = EACH * USERS
    user = np.repeat(np.arange(1, USERS + 1, dtype=np.int32), EACH)
    block = (np.arange(USERS) % 4) * 10 + 1
    item = np.concatenate([begin + rng.permutation(10)[:EACH] for begin in block]).astype(np.int32)
    number = np.arange(n)
    clicked = item[number % EACH == 1]  # every user has searched for one of them, in train
    last = number % EACH == EACH - 1
    empty = np.zeros(0, np.int64)
    return Dataset(
        path=Path("."),
        manifest={"name": "groups", "sha256": "ab" * 32},
        split="by_hand",
        history_order="time",
        n_users=USERS,
        n_items=40,
        n_queries=1,
        n_tokens=0,
        rec=RecEvents(
            user, number.astype(np.int64), number.astype(np.int32), item, np.ones(n, np.uint8)
        ),
        search=make_searches(
            np.arange(1, USERS + 1, dtype=np.int32),
            EACH * np.arange(USERS) + 2,
            np.ones(USERS, np.int32),
            np.ones(USERS, np.int32),
            np.arange(USERS + 1),
            clicked,
        ),
        rows={
            ("rec", "train"): number[~last],
            ("rec", "valid"): number[last],
            ("search", "train"): np.arange(USERS),
            **dict.fromkeys((("rec", "test"), ("search", "valid"), ("search", "test")), empty),
        },
        query_tokens=np.zeros((2, 1), np.int32),
        item_categories=np.zeros((41, 4), np.int32),
        load_lists=lambda task, part: {},
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, dataset = tmp_path_factory.mktemp("cf"), make_groups()
    task, mesh = make_task(dataset), make_mesh(jax.devices()[:1])
    config = ConfigDict({"eval": {"batch_size": 128, "filter_seen": "history"}})

    def open_source(stage):
        return training_source(dataset, stage.view, stage.batch_size, 0, stage.epochs)

    result = train(
        task,
        open_source,
        open_validators(config, task, dataset, mesh),
        TrainSettings(show_progress=False, tensorboard=False),
        folder / "run",
        0,
        mesh,
    )
    return task, dataset, result


def test_it_learns_more_than_popularity(trained):
    task, dataset, result = trained
    judged = judge_as(task, task.stages[0])
    ours = make_validator(judged, dataset, protocols=("full",))
    rows = dataset.rows["rec", "train"]
    counts = jnp.asarray(np.bincount(dataset.rec.item[rows], minlength=dataset.n_items + 1))

    def score_popular(params, constants, batch, items):
        return jnp.broadcast_to(counts[items].astype(jnp.float32), (len(batch["user"]), len(items)))

    popular = make_validator(
        task._replace(score_catalogue=score_popular), dataset, protocols=("full",)
    )
    key = "rec/full/NDCG@10"
    learned = ours(result.params, result.constants)
    assert learned[key] > 0.4  # three items of its own block are left to a user
    assert popular({}, {})[key] < 0.2
    assert result.stages[0].best_value == pytest.approx(learned[key])


def test_only_its_own_parameters_move(trained):
    _, _, result = trained
    np.testing.assert_array_equal(result.params["model"]["other"], np.ones(3))
    assert not result.params["cf"]["item"][0].any()
    assert is_collaborative("cf/item")
    assert not is_collaborative("model/cf_view/kernel")


def test_every_train_row_is_a_target(trained):
    task, dataset, _ = trained
    stage = task.stages[0]
    source = training_source(dataset, stage.view, 128, 0, 1)
    assert source.n_rows == sum(len(dataset.rows[name, "train"]) for name in ("rec", "search"))
    assert source[0]["negatives"].shape == (128, 1)
    assert source[0]["rec_item"].shape == (128, 0)
