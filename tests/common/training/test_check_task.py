"""Mistakes against the contract of a method are named before anything is trained."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from common.errors import InputError
from common.training.check_task import check_task

ROWS, COLUMNS = 4, 3


@pytest.fixture
def check(tiny):
    """check(evidence=..., stage fields and task fields) of a task that is right but for them."""

    def run(evidence=False, stage=None, **changes):
        whole = tiny.make_task(tiny.make_stage()._replace(**(stage or {})))
        task = whole._replace(**({"score": give(ROWS, COLUMNS)} | changes))
        batch = dict(tiny.TinySource(whole.stages[0])[0])
        given = batch | {
            "target": jnp.zeros(2, jnp.int32),
            "negatives": jnp.zeros((2, 0), jnp.int32),
            "search_query": jnp.zeros((2, 1), jnp.int32),
        }
        check_task(task, given, {stage.name: batch for stage in task.stages}, evidence=evidence)

    return run


def give(*shape, dtype=jnp.float32):
    return lambda *_: jnp.zeros(shape, dtype)


NUMBER = jnp.float32(0.0)
READS_TRAINED = "stage fit, prepare: reads parameters that the stage trains, which are None there; "


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": ()}, "serves (); give rec, search or both"),
        ({"tasks": ("both",)}, "serves ('both',); give rec, search or both"),
        ({"score": give(ROWS, COLUMNS + 1)}, "score: gives float32 [4, 4]; give float32 [4, 3]"),
        ({"score": give(ROWS, COLUMNS, dtype=jnp.int32)}, "score: gives int32 [4, 3]; give float"),
        ({"score": lambda *_: {}}, "score: gives a dict; give float32 [4, 3]"),
        ({"score_catalogue": give(3)}, "score_catalogue: gives float32 [3]; give float32 [4, 3]"),
        ({"explain": give(4)}, "explain: gives float32 [4]; give {name: array}"),
        ({"explain": lambda *_: {}, "evidence": True}, "explain: has no mean_evidence, which"),
        (
            {"explain": lambda *_: {"mean_evidence": jnp.zeros((4, 5))}, "evidence": True},
            "explain, mean_evidence: gives float32 [4, 5]; give float32 [4, 6]",
        ),
        ({"init": lambda *_: ({}, {"events": NUMBER})}, "has a constant 'events'"),
        ({"stage": {"prepare": lambda p, c: c | {"x": p["embed"]["table"] + 1}}}, READS_TRAINED),
        ({"stage": {"prepare": lambda p, c: c | {"x": p["embed"]["table"]}}}, READS_TRAINED),
        ({"split_tables": ("cf/item",)}, "split_tables: no table 'cf/item'; use some of "),
        ({"stage": {"loss": lambda *_: NUMBER}}, "loss: gives a float32 number; give (loss, {"),
        ({"stage": {"loss": lambda *_: (jnp.zeros(4), {})}}, "loss: gives float32 [4]; give a fl"),
        (
            {"stage": {"loss": lambda *_: (NUMBER, {"x": jnp.zeros(2)})}},
            "loss, metric 'x': gives float32 [2]; give a float32 number",
        ),
        ({"stage": {"loss": lambda *_: (NUMBER, {"loss": NUMBER})}}, "has a metric 'loss', which"),
    ],
)
def test_a_mistake_is_named(check, changes, message):
    with pytest.raises(InputError, match=r"^method ") as caught:
        check(**changes)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_right_passes(check):
    check()
    check(
        evidence=True,
        score_catalogue=give(ROWS, 3),
        explain=lambda *_: {"mean_evidence": jnp.zeros((ROWS, 6))},
    )


def test_a_stage_may_prepare_constants_of_what_it_does_not_train(check):
    stage = {
        "prepare": lambda params, constants: constants | {"table": 2 * params["embed"]["table"]},
        "trainable": lambda name: name.startswith("head/"),
    }
    check(stage=stage)


def test_what_a_function_raises_itself_keeps_its_traceback(check):
    with pytest.raises(ZeroDivisionError):
        check(score=lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        check(stage={"prepare": lambda *_: 1 / 0})
