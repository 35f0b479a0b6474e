"""A stage's own constants, made of what an earlier stage has learned, and its own validation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.training.mesh import make_mesh
from common.training.restore import load_trained
from common.training.task import Stopping, judge_as

VALUES = [0.1, 0.9, 0.2, 0.5]  # the first stage's best is after its second epoch


def prepare(params, constants):
    """Scales by what the first stage has made of the head."""
    return {"scale": constants["scale"] + 10.0 * params["head"]["kernel"][:, 0]}


def two_stages(tiny, make=prepare):
    first = tiny.make_stage(name="first", epochs=3, trainable=lambda p: p.startswith("head/"))
    second = tiny.make_stage(
        name="second", epochs=1, trainable=lambda path: path.startswith("embed/"), prepare=make
    )
    return tiny.make_task(first, second)


class Judge:
    """Gives the values in turn and keeps what it is asked about."""

    def __init__(self, values):
        self.left, self.seen = iter(values), []

    def open(self, stage):
        def validate(params, constants):
            kept = jax.tree.map(np.asarray, (params, constants))
            self.seen.append((stage.name, *kept))
            return {"fit": next(self.left)}

        return validate


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    workdir, judge = tmp_path_factory.mktemp("whole"), Judge(VALUES)
    return tiny.run(workdir, two_stages(tiny), open_validator=judge.open), workdir, judge.seen


def test_the_second_stage_gets_what_the_first_one_learned(tiny, whole):
    result, _, seen = whole
    assert [name for name, *_ in seen] == ["first", "first", "first", "second"]
    plain = np.arange(1.0, tiny.WIDTH + 1, dtype=np.float32)
    for _, _, constants in seen[:3]:
        np.testing.assert_array_equal(constants["scale"], plain)
    best = seen[1][1]["head"]["kernel"][:, 0]
    assert not np.array_equal(best, seen[2][1]["head"]["kernel"][:, 0])
    np.testing.assert_allclose(seen[3][2]["scale"], plain + 10 * best, rtol=1e-6)
    tiny.assert_same(result.constants, seen[3][2])


def test_the_loss_has_the_stage_constants(tiny, tmp_path, whole):
    plain = tiny.run(tmp_path, two_stages(tiny, make=None), open_validator=Judge(VALUES).open)
    tiny.assert_same(plain.params["head"], whole[0].params["head"])
    assert not np.array_equal(plain.params["embed"]["table"], whole[0].params["embed"]["table"])


@pytest.mark.parametrize("at", [8, 17, 20])  # in the first stage, at the border, in the second
def test_a_run_that_was_killed_goes_on_the_same(tiny, tmp_path, whole, at):
    task, judge = two_stages(tiny), Judge(VALUES)

    def iterate(source, start):
        offset = 0 if len(source) == 18 else 18
        return tiny.interrupt("SIGTERM", at - offset)(source, start)

    part = tiny.run(tmp_path, task, iterate=iterate, open_validator=judge.open)
    assert (part.interrupted, part.global_step) == ("SIGTERM", at + 1)
    rest = tiny.run(tmp_path, task, open_validator=judge.open)
    tiny.assert_same(whole[0].params, rest.params)
    tiny.assert_same(whole[0].constants, rest.constants)
    assert rest.stages == whole[0].stages
    assert tiny.read_lines(tmp_path) == tiny.read_lines(whole[1])
    for mine, first in zip(judge.seen, whole[2], strict=True):
        tiny.assert_same(mine[1:], first[1:])


def test_a_loaded_run_has_the_constants_of_its_last_stage(tiny, whole):
    result, workdir, _ = whole
    task, mesh = two_stages(tiny), make_mesh(jax.devices()[:1])
    batch = tiny.TinySource(task.stages[0])[0]
    for which in ("best", "latest"):
        _, constants, progress = load_trained(task, batch, workdir, 3, mesh, which)
        assert progress.stage_name == "second"
        tiny.assert_same(constants, result.constants)


def test_constants_may_be_parameters_themselves(tiny, tmp_path):
    """The step takes the memory of the parameters over; constants keep their own."""

    def make(params, constants):
        return {**constants, "kernel": params["head"]["kernel"]}

    result = tiny.run(tmp_path, two_stages(tiny, make))
    tiny.assert_same(result.constants["kernel"], result.params["head"]["kernel"])


def test_what_the_stage_trains_cannot_become_a_constant(tiny, tmp_path):
    """After a restart it would be another one."""
    task = two_stages(tiny, lambda params, constants: {"scale": jnp.sum(params["embed"]["table"])})
    with pytest.raises(TypeError):
        tiny.run(tmp_path, task)


def test_a_stage_is_judged_by_its_own_scores(tiny):
    task = tiny.make_task(tiny.make_stage(), tiny.make_stage(name="own", score=lambda *_: "own"))
    assert judge_as(task, task.stages[0]) == task
    judged = judge_as(task, task.stages[1])
    assert judged.score(None, None, None) == "own"
    assert judged.score_catalogue is None
    own = tiny.make_stage(stopping=Stopping(), score_catalogue=lambda *_: "all")
    judged = judge_as(task, own)
    assert judged.score is task.score
    assert judged.score_catalogue(None, None, None, None) == "all"
