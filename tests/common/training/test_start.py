"""Beginning with another run's parameters, and keeping the parameters a stage began with."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.errors import InputError
from common.training.checkpoints import describe_saved, list_steps
from common.training.stage_loop import count_steps_between_evaluations
from common.training.start import check_start
from common.training.task import Optimizer

DATA = {"tables": "a" * 64, "split.joint": "b" * 64, "list.joint.uniform9.rec.valid": "c" * 64}
FINGERPRINT = {"method": "m", "data": DATA}


@pytest.fixture(scope="module")
def first(tiny, tmp_path_factory):
    """A finished run whose best is after its second epoch, and its workdir."""
    workdir = tmp_path_factory.mktemp("first")
    values = tiny.fall([0.1, 0.9, 0.2])
    stage = tiny.make_stage(name="first", epochs=3)
    result = tiny.run(workdir, tiny.make_task(stage), validate=values, fingerprint=FINGERPRINT)
    return result, workdir


def make_kept(tiny, **changes):
    """A stage that is drawn back to where it began."""

    def loss(params, constants, batch, key):
        value, metrics = tiny.loss(params, constants, batch, key)
        apart = jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - b)), params, constants["start"])
        drawn = sum(jax.tree.leaves(apart))
        return value + 0.3 * drawn, {**metrics, "drawn": drawn}

    return tiny.make_stage(name="kept", loss=loss, keeps_start=True, epochs=2, **changes)


def test_a_run_begins_with_the_best_of_another(tiny, first, tmp_path):
    before, workdir = first
    still = tiny.make_stage(optimizer=Optimizer(learning_rate=0.0), epochs=1)
    task = tiny.make_task(still)._replace(start=str(workdir))
    result = tiny.run(tmp_path, task, fingerprint=FINGERPRINT, seed=8)
    tiny.assert_same(result.params, before.params)
    assert result.global_step == 6


def test_the_start_is_kept_and_never_changes(tiny, first, tmp_path):
    _, workdir = first
    task = tiny.make_task(make_kept(tiny))._replace(start=str(workdir))
    tiny.run(tmp_path, task, fingerprint=FINGERPRINT)
    drawn = [line["values"]["drawn"] for line in tiny.read_lines(tmp_path, "train")]
    assert drawn[0] == 0
    assert min(drawn[1:]) > 0


@pytest.mark.parametrize("at", [2, 8])
def test_a_restart_mid_way_knows_the_start(tiny, first, tmp_path, at):
    """Bit for bit."""
    _, workdir = first
    task = tiny.make_task(make_kept(tiny))._replace(start=str(workdir))
    options = {"fingerprint": FINGERPRINT, "seed": 8}
    whole = tiny.run(tmp_path / "whole", task, **options)
    part = tiny.run(tmp_path / "parts", task, **options, iterate=tiny.interrupt("SIGTERM", at))
    assert (part.interrupted, part.global_step) == ("SIGTERM", at + 1)
    rest = tiny.run(tmp_path / "parts", task, **options)
    tiny.assert_same(whole.params, rest.params)
    assert tiny.read_lines(tmp_path / "whole") == tiny.read_lines(tmp_path / "parts")


@pytest.mark.parametrize("at", [11, 14])  # at the border between the stages, in the second
def test_a_second_stage_keeps_the_best_of_the_first(tiny, tmp_path, at):
    task = tiny.make_task(tiny.make_stage(epochs=2), make_kept(tiny))
    values = [0.9, 0.2, 0.3, 0.4]
    whole = tiny.run(tmp_path / "whole", task, validate=tiny.fall(values))
    drawn = [line["values"] for line in tiny.read_lines(tmp_path / "whole", "train")]
    assert drawn[12]["drawn"] == 0  # of the best, after epoch 1, not of the last

    def iterate(source, start):
        # Both stages have twelve steps; the second is the second to be asked for.
        calls.append(start)
        return tiny.interrupt("SIGTERM", at - 12 * (len(calls) - 1))(source, start)

    calls = []
    done = at // 6
    tiny.run(tmp_path / "parts", task, validate=tiny.fall(values), iterate=iterate)
    assert list_steps(tmp_path / "parts" / "checkpoints")[-1] == at + 1
    rest = tiny.run(tmp_path / "parts", task, validate=tiny.fall(values[done:]))
    tiny.assert_same(whole.params, rest.params)
    assert whole.stages == rest.stages


def test_another_start_is_another_run(tiny, first, tmp_path):
    _, workdir = first
    task = tiny.make_task()._replace(start=str(workdir))
    tiny.run(tmp_path / "run", task, fingerprint=FINGERPRINT, iterate=tiny.interrupt("SIGTERM", 2))
    stage = tiny.make_stage(name="first", epochs=1)
    tiny.run(tmp_path / "other", tiny.make_task(stage), fingerprint=FINGERPRINT)
    other = task._replace(start=str(tmp_path / "other"))
    with pytest.raises(InputError, match=r"start.step was 12 and is 6"):
        tiny.run(tmp_path / "run", other, fingerprint=FINGERPRINT)
    with pytest.raises(InputError, match=r"start.step was 12 and is None"):
        tiny.run(tmp_path / "run", tiny.make_task(), fingerprint=FINGERPRINT)


def test_starts_that_cannot_be_are_refused(tiny, first, tmp_path):
    _, workdir = first
    batch = tiny.TinySource(tiny.make_stage())[0]

    def check(start, task=None, fingerprint=FINGERPRINT):
        task = task or tiny.make_task()
        check_start(task._replace(start=str(start)), batch, fingerprint)

    check(workdir)
    check("", fingerprint={})
    with pytest.raises(InputError, match="no checkpoint to start from"):
        check(tmp_path / "nowhere")
    with pytest.raises(InputError, match="method is 'm' there and 'n' here"):
        check(workdir, fingerprint={"method": "n"})
    check(workdir, fingerprint={"data": {**DATA, "list.joint.uniform9.rec.valid": "d" * 64}})
    moved = r"made on other data: the split joint is bbbbbbbbbbbb there and d+ here; give anoth"
    with pytest.raises(InputError, match=moved):
        check(workdir, fingerprint={"data": {**DATA, "split.joint": "d" * 64}})

    def init(key, batch):
        params, constants = tiny.init(key, batch)
        return params | {"more": jnp.zeros(2)}, constants

    with pytest.raises(InputError, match=r"(?s)do not fit this model.*more .*float32 \[2\]"):
        check(workdir, tiny.make_task()._replace(init=init))
    two = tiny.make_task(tiny.make_stage(name="a", epochs=1), tiny.make_stage(name="b", epochs=1))
    tiny.run(tmp_path / "two", two, fingerprint=FINGERPRINT)
    with pytest.raises(InputError, match="has gone on to stage b"):
        check(tmp_path / "two")
    shutil.copytree(workdir, tmp_path / "cut")
    (best,) = (tmp_path / "cut" / "checkpoints" / "12" / "params").glob("manifest.ocdbt")
    best.write_bytes(best.read_bytes()[:20])
    with pytest.raises(InputError, match="cannot be read"):
        check(tmp_path / "cut")
    tiny.run(tmp_path / "new", iterate=tiny.interrupt("SIGTERM", 2), fingerprint=FINGERPRINT)
    with pytest.raises(InputError, match="never evaluated"):
        check(tmp_path / "new")


def test_a_stage_may_be_evaluated_at_its_own_pace(tiny, tmp_path):
    task = tiny.make_task(tiny.make_stage(epochs=1, eval_every_epochs=0.5))
    tiny.run(tmp_path, task)
    assert [line["step"] for line in tiny.read_lines(tmp_path, "valid")] == [3, 6]
    source = tiny.TinySource(tiny.make_stage())
    assert count_steps_between_evaluations(tiny.QUIET, source) == 6
    assert count_steps_between_evaluations(tiny.QUIET, source, 0.01) == 1


def test_a_state_without_a_start_has_no_more_arrays(tiny, tmp_path):
    """Checkpoints of other stages stay as they were."""
    result = tiny.run(tmp_path)
    (newest,) = (p for p in (tmp_path / "checkpoints").iterdir() if p.name == "24")
    names = describe_saved(newest, "optimizer")
    assert not any(name.startswith("start") for name in names)
    assert np.isfinite(result.params["head"]["bias"]).all()
