"""Scores are products of float32 without short cuts, by whichever route they are made."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.ranking.protocols import evaluate, make_validator
from common.ranking.top import make_ranker
from common.runs.evidence import make_weigher
from common.training.mesh import describe_device, make_mesh, put_batch
from common.training.step import make_probe, prepare_constants
from common.training.task import Stage, judge_as


def find_precision():
    """How the function that is being traced multiplies float32."""
    return str(jax.make_jaxpr(jnp.dot)(jnp.ones((2, 2)), jnp.ones((2, 2))).eqns[0].params)


@pytest.fixture
def noted():
    """Of each function of a method that was traced, whether its products are exact."""
    return {}


@pytest.fixture
def model(dot, noted):
    """The dot-product model and a stage of it, which note it."""
    plain = dot.task()

    def note(name, function):
        def call(*arguments):
            noted[name] = "Precision.HIGHEST" in find_precision()
            return function(*arguments)

        return call

    def explain(params, constants, batch):
        return {"mean_evidence": jnp.zeros((len(batch["user"]), 4))}

    stage = Stage(
        "own", loss=None, view=plain.view, batch_size=8, epochs=1,
        score=note("stage score", plain.score),
        score_catalogue=note("stage catalogue", plain.score_catalogue),
        prepare=note("prepare", lambda params, constants: constants),
        probe=note("probe", lambda params, constants, batch: {}),
        trainable=lambda name: name == "user",
    )  # fmt: skip
    return plain._replace(
        score=note("score", plain.score),
        score_catalogue=note("catalogue", plain.score_catalogue),
        explain=note("explain", explain),
        stages=(stage,),
    )


def test_every_route_multiplies_exactly(model, dot, dataset, noted):
    assert "HIGHEST" not in find_precision()  # or nothing is shown below
    params, mesh, stage = dot.params(), make_mesh(jax.devices()[:1]), model.stages[0]
    evaluate(model, params, {}, dataset)
    assert noted == {"score": True, "catalogue": True}
    noted.clear()
    rows = dataset.rows["rec", "test"][:2]
    make_ranker(model, params, {}, mesh, filter_seen="none")(dataset, "rec", rows, 3)
    assert noted == {"catalogue": True}
    make_validator(judge_as(model, stage), dataset, protocols=["full", "uniform12"])(params, {})
    prepare_constants(stage, params, {}, mesh)
    batch = put_batch(mesh, {"user": np.zeros(2, np.int32), "valid": np.ones(2, np.uint8)})
    make_probe(stage, mesh)(params, {}, batch)
    make_weigher(model, params, {}, mesh)({name: np.asarray(one) for name, one in batch.items()})
    names = ("catalogue", "stage score", "stage catalogue", "prepare", "probe", "explain")
    assert noted == dict.fromkeys(names, True)


def test_the_device_is_described():
    device = jax.devices()[0]
    assert describe_device(make_mesh([device])) == {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": 1,
    }
