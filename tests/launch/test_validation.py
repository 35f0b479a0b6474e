"""Each stage is judged by its own scores, and by the protocols of its own metrics."""

import jax
import jax.numpy as jnp
import pytest
from ml_collections import ConfigDict

from common.data.folder import load_dataset
from common.data.timeline import build_timeline
from common.data.view import View, candidate_items
from common.errors import InputError
from common.training.mesh import make_mesh
from common.training.task import Stage, Stopping, Task
from launch.validation import open_validators

CONFIG = ConfigDict({"eval": {"batch_size": 256, "filter_seen": "history"}})


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
    timeline = build_timeline(dataset.rec, dataset.search, dataset.n_users, dataset.history_order)
    return dataset, timeline, make_mesh(jax.devices()[:1])


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
