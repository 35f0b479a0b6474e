"""Mistakes against the contract of a method are named before anything is trained."""

from __future__ import annotations

import jax.numpy as jnp
import pytest

from common.data.view import View, candidate_items
from common.errors import InputError
from common.training.check_kinds import check_kinds
from common.training.check_task import check_task
from common.training.pretrained import take_pretrained
from common.training.task import Optimizer, Retriever


@pytest.fixture
def check(tiny):
    """check(evidence=..., stage fields and task fields) of a task that is right but for them."""

    def run(evidence=False, stage=None, **changes):
        whole = tiny.make_task(tiny.make_stage()._replace(**(stage or {})))
        task = whole._replace(**({"score": rank} | changes))
        batch = dict(tiny.TinySource(whole.stages[0])[0])
        given = batch | {
            "target": jnp.zeros(2, jnp.int32),
            "negatives": jnp.zeros((2, 0), jnp.int32),
            "search_query": jnp.zeros((2, 1), jnp.int32),
        }
        check_kinds(task)
        check_task(task, given, {stage.name: batch for stage in task.stages}, evidence=evidence)

    return run


def rank(params, constants, batch):
    return jnp.zeros(candidate_items(batch).shape)


def rank_items(params, constants, batch, items):
    return jnp.zeros((len(batch["target"]), len(items)))


def weigh(params, constants, batch):
    rows, searches = batch["search_query"].shape
    return {"mean_evidence": jnp.zeros((rows, searches + 1))}


def weigh_turned(*given):
    return {"mean_evidence": weigh(*given)["mean_evidence"].T}


def give(*shape, dtype=jnp.float32):
    """A function of 2 to 4 arguments that always gives zeros of one shape."""
    return lambda a, b, c=None, d=None: jnp.zeros(shape, dtype)


def give_text(*given):
    return "scores"


NUMBER = jnp.float32(0.0)
PARAMS = {"w": jnp.zeros((3, 2))}
READS_TRAINED = "stage fit, prepare: reads parameters that the stage trains, which are None there; "
# In the check a batch has 24 rows and 32 candidates, and 41 items are asked for: the sizes that
# the tiny task has are left out.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": lambda *g: rank(*g)[:, :1]}, "score: gives float32 [24, 1]; give float32 [24, "),
        ({"score": lambda *g: rank(*g)[:, :3]}, "score: gives float32 [24, 3]; give float32 [24, "),
        ({"score": lambda *g: rank(*g).T}, "score: gives float32 [32, 24]; give float32 [24, 32]"),
        ({"score": lambda *g: rank(*g).astype(int)}, "score: gives int32 [24, 32]; give float32 ["),
        ({"score": lambda *_: {}}, "score: gives a dict; give float32 [24, 32]"),
        ({"score": lambda *_: None}, "score: gives None; let it return"),
        ({"score": give_text}, "score: gives a str; give arrays"),
        ({"score_catalogue": give(3)}, "score_catalogue: gives float32 [3]; give float32 [24, 41]"),
        (
            {"stage": {"score": give(2, 1)}},
            "stage fit, score: gives float32 [2, 1]; give float32 [",
        ),
        ({"stage": {"score_catalogue": give(2)}}, "stage fit, score_catalogue: gives float32 [2]"),
        (
            {"retrievers": {"rec": Retriever("mine", give(2), 5)}},
            "retrievers rec, score_catalogue: gives float32 [2]; give float32 [24, 41]",
        ),
        ({"stage": {"probe": give(2)}}, "stage fit, probe: gives float32 [2]; give {name: number}"),
        (
            {"stage": {"probe": lambda *_: {"x": jnp.zeros(2)}}},
            "probe, metric 'x': gives float32 [2",
        ),
        ({"explain": give(4)}, "explain: gives float32 [4]; give {name: array}"),
        ({"explain": lambda *_: {}, "evidence": True}, "explain: has no mean_evidence, which"),
        (
            {"explain": lambda *_: {"mean_evidence": jnp.zeros((2, 2))}, "evidence": True},
            "explain, mean_evidence: gives float32 [2, 2]; give float32 [24, 2]",
        ),
        (
            {"explain": weigh_turned, "evidence": True},
            "explain, mean_evidence: gives float32 [2, 24]; give float32 [24, 2]",
        ),
        ({"init": lambda *_: None}, "init: gives None"),
        ({"init": lambda *_: PARAMS}, "init: gives a dict; give (parameters, {name: constant})"),
        ({"init": lambda *_: (PARAMS, NUMBER)}, "init: gives a tuple; give (parameters, {name"),
        (
            {"init": lambda *_: ({"n": jnp.zeros(2, jnp.int32)}, {})},
            "init: the parameter n is int32; make it float32, or a constant",
        ),
        (
            {"init": lambda *_: ({}, {}), "split_tables": ("item",)},
            "split_tables: no table 'item'; leave it empty",
        ),
        ({"init": lambda *_: ({}, {"events": NUMBER})}, "has a constant 'events'"),
        ({"stage": {"prepare": lambda p, c: c | {"x": p["embed"]["table"] + 1}}}, READS_TRAINED),
        ({"stage": {"prepare": lambda p, c: c | {"x": p["embed"]["table"]}}}, READS_TRAINED),
        ({"split_tables": ("cf/item",)}, "split_tables: no table 'cf/item'; use some of "),
        ({"stage": {"trainable": lambda name: False}}, "stage fit, trainable: true for none of"),
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
    check(evidence=True, score_catalogue=rank_items, explain=weigh)
    check(stage={"score": rank, "score_catalogue": rank_items, "probe": lambda *_: {"x": NUMBER}})


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": "rec"}, "tasks: is 'rec'; give a tuple, each of it a text"),
        ({"tasks": ()}, "tasks: is (); give ('rec',), ('search',) or ('rec', 'search')"),
        ({"tasks": ("foo",)}, "tasks: is ('foo',); give "),
        ({"tasks": ("rec", "rec")}, "tasks: is ('rec', 'rec'); give "),
        ({"view": None}, "view: is None; give a View"),
        ({"stages": None}, "stages: is None; give a tuple, each of it a Stage"),
        ({"stages": (None,)}, "stages 0: is None; give a Stage"),
        ({"score": None}, "score: is None; give a function"),
        ({"score": lambda params: 0}, "score: cannot be called with 3 arguments ("),
        ({"pretrained": {}}, "pretrained: is a dict; give a function"),
        ({"split_tables": None}, "split_tables: is None; give a tuple, each of it a text"),
        ({"split_tables": "item"}, "split_tables: is 'item'; give a tuple, each of it a text"),
        ({"retrievers": {"rec": 5}}, "retrievers rec: is an int; give a Retriever"),
        (
            {"retrievers": {"search": Retriever("mine", rank_items, 5)}},
            "retrievers: has 'search'; use 'rec'",
        ),
        ({"stage": {"loss": None}}, "stage fit, loss: is None; give a function"),
        ({"stage": {"view": None}}, "stage fit, view: is None; give a View"),
        ({"view": View(task="foo")}, "view, task: is 'foo'; use rec or search or both"),
        ({"stage": {"view": View(task="foo")}}, "stage fit, view, task: is 'foo'; use rec or "),
        ({"stage": {"view": View(rec_length=-1)}}, "stage fit, view, rec_length: is -1; give 0 "),
        (
            {"stage": {"view": View(negative_sampling="all")}},
            "stage fit, view, negative_sampling: is 'all'; use popularity or uniform or mixed",
        ),
        ({"stage": {"batch_size": "3"}}, "stage fit, batch_size: is '3'; give a whole number"),
        ({"stage": {"batch_size": 0}}, "stage fit, batch_size: is 0; give more than 0"),
        ({"stage": {"epochs": 0}}, "stage fit, epochs: is 0; give more than 0"),
        ({"stage": {"epochs": float("nan")}}, "stage fit, epochs: is nan; give a whole number"),
        ({"stage": {"optimizer": None}}, "stage fit, optimizer: is None; give an Optimizer"),
        (
            {"stage": {"optimizer": Optimizer(learning_rate="1")}},
            "stage fit, optimizer, learning_rate: is '1'; give a finite number",
        ),
        (
            {"stage": {"optimizer": Optimizer(schedule="step")}},
            "stage fit, optimizer, schedule: is 'step'; give 'constant' or 'cosine'",
        ),
        ({"stage": {"trainable": True}}, "stage fit, trainable: is True; give a function"),
    ],
)
def test_a_field_of_another_kind_is_named(check, changes, message):
    with pytest.raises(InputError) as caught:
        check(**changes)
    assert str(caught.value).startswith(f"method tiny, {message}")


@pytest.mark.parametrize("built", [None, "task"])
def test_what_is_no_task_is_named(built):
    with pytest.raises(InputError, match=r"^build: gives a .*; give a Task, see "):
        check_kinds(built)


def test_two_stages_of_one_name_are_named(tiny):
    with pytest.raises(InputError, match=r"^method tiny: two stages have the name 'fit'; rename"):
        check_kinds(tiny.make_task(tiny.make_stage(), tiny.make_stage()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p, None),
        (lambda p: None, "gives nothing for 'w', where init has float32 [3, 2]; give "),
        (lambda p: {"w": p["w"].T}, "gives float32 [2, 3] for 'w', where init has float32 [3, 2]"),
        (lambda p: {"w": p["w"].astype(int)}, "gives int32 [3, 2] for 'w', where"),
        (lambda p: p | {"x": p["w"]}, "gives float32 [3, 2] for 'x', where init has nothing"),
    ],
)
def test_pretrained_parameters_are_like_the_initial_ones(tiny, change, message):
    task = tiny.make_task()._replace(pretrained=change)
    if message is None:
        assert take_pretrained(task, PARAMS) is PARAMS
        return
    with pytest.raises(InputError) as caught:
        take_pretrained(task, PARAMS)
    assert str(caught.value).startswith(f"method tiny, pretrained: {message}")
