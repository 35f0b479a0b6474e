"""The checkpoint that an evaluation judges: the best that can be read, of the run that is meant."""

import shutil

import jax
import numpy as np
import pytest

from common.errors import InputError
from common.training import restore as restoring
from common.training.checkpoints import list_steps
from common.training.mesh import make_mesh
from common.training.restore import load_trained
from common.training.task import Stopping


def test_load_trained_takes_best_or_latest(tiny, tmp_path, capsys):
    result = tiny.run(tmp_path, tiny.make_task(tiny.make_stage(epochs=3)))
    task = tiny.make_task()
    batch = tiny.TinySource(task.stages[0])[0]
    mesh = make_mesh(jax.devices()[:1])
    params, constants, progress = load_trained(task, batch, tmp_path, 3, mesh)
    jax.tree.map(np.testing.assert_array_equal, params, result.params)
    jax.tree.map(np.testing.assert_array_equal, constants, result.constants)
    assert progress.global_step == result.stages[0].best_step
    assert progress.ended

    *_, progress = load_trained(task, batch, tmp_path, 3, mesh, "latest")
    assert progress.global_step == result.global_step == 18
    (tmp_path / "checkpoints" / "18" / "params" / "_METADATA").unlink()
    *_, progress = load_trained(task, batch, tmp_path, 3, mesh, "latest")
    assert progress.global_step == 12
    assert "18: damaged (params/_METADATA is missing); using 12" in capsys.readouterr().err
    with pytest.raises(InputError, match="no checkpoint; train first"):
        load_trained(task, batch, tmp_path / "nowhere", 3, mesh)


def test_a_training_that_has_not_ended_is_known(tiny, tmp_path):
    """Also one that a signal met at its last step, before the last evaluation."""
    task = tiny.make_task(tiny.make_stage(epochs=3))
    batch, mesh = tiny.TinySource(task.stages[0])[0], make_mesh(jax.devices()[:1])
    for stop, saved in ((9, 10), (17, 18)):
        part = tiny.run(tmp_path, task, iterate=tiny.interrupt("SIGTERM", stop))
        assert part.global_step == saved
        assert not load_trained(task, batch, tmp_path, 3, mesh)[2].ended
    tiny.run(tmp_path, task)
    assert load_trained(task, batch, tmp_path, 3, mesh)[2].ended


def test_a_checkpoint_that_goes_while_it_is_read_is_not_damaged(
    tiny, tmp_path, monkeypatch, capsys
):
    """Another process trains: it has saved, and deleted an old one."""
    task = tiny.make_task(tiny.make_stage(epochs=3))
    tiny.run(tmp_path, task, tiny.fall([0.1, 0.2, 0.3]))
    batch, mesh = tiny.TinySource(task.stages[0])[0], make_mesh(jax.devices()[:1])
    folder, check = tmp_path / "checkpoints", restoring.open_checked

    def delete_first(path):
        if path.name == "18" and path.exists():
            shutil.rmtree(path)
        return check(path)

    monkeypatch.setattr(restoring, "open_checked", delete_first)
    *_, progress = load_trained(task, batch, tmp_path, 3, mesh)
    assert progress.global_step == 12
    assert list_steps(folder) == [6, 12]
    assert "damaged" not in capsys.readouterr().err


def test_a_damaged_best_gives_way_to_the_best_before(tiny, tmp_path, capsys, flip_a_bit):
    values = [0.1, 0.2, 0.6, 0.4, 0.3, 0.2, 0.1, 0.1]  # at steps 6, 12, ..., 48
    stopping = Stopping(metric="fit", patience=0)
    task = tiny.make_task(tiny.make_stage(epochs=8, stopping=stopping))
    tiny.run(tmp_path, task, tiny.fall(values))
    assert list_steps(tmp_path / "checkpoints") == [12, 18, 36, 42, 48]
    flip_a_bit(tmp_path / "checkpoints" / "18" / "optimizer" / "_METADATA")
    batch, mesh = tiny.TinySource(task.stages[0])[0], make_mesh(jax.devices()[:1])
    _, _, progress = load_trained(task, batch, tmp_path, 3, mesh)
    assert progress.global_step == 12
    assert (
        "18: damaged (optimizer/_METADATA has other bytes than were saved); using 12"
    ) in capsys.readouterr().err
    (summary,) = tiny.run(tmp_path, task, tiny.fall([])).stages
    assert (summary.best_step, summary.best_value) == (12, 0.2)


def test_a_damaged_newest_that_is_the_best_is_told(tiny, tmp_path, capsys, flip_a_bit):
    """It alone knew that it was the best: the one before says another, and a word is due."""
    task = tiny.make_task(tiny.make_stage(epochs=3))
    tiny.run(tmp_path, task, tiny.fall([0.1, 0.2, 0.3]))
    batch, mesh = tiny.TinySource(task.stages[0])[0], make_mesh(jax.devices()[:1])
    *_, progress = load_trained(task, batch, tmp_path, 3, mesh)
    assert progress.global_step == 18
    flip_a_bit(tmp_path / "checkpoints" / "18" / "params" / "_METADATA")
    *_, progress = load_trained(task, batch, tmp_path, 3, mesh)
    assert progress.global_step == 12
    assert "/18: damaged (params/_METADATA has other bytes" in capsys.readouterr().err


def test_a_checkpoint_of_another_configuration_is_not_judged(tiny, tmp_path):
    """Also where only the newest is another's, and the best is not."""
    task = tiny.make_task(tiny.make_stage(epochs=3))
    for name, rate in (("mine", 1), ("other", 2)):
        values = tiny.fall([0.3, 0.2, 0.1])
        tiny.run(tmp_path / name, task, values, fingerprint={"config": {"rate": rate}})
    shutil.rmtree(tmp_path / "mine" / "checkpoints" / "18")
    shutil.copytree(tmp_path / "other/checkpoints/18", tmp_path / "mine/checkpoints/18")
    batch, mesh = tiny.TinySource(task.stages[0])[0], make_mesh(jax.devices()[:1])
    with pytest.raises(InputError, match=r"/18: made by another run \(config\.rate was 2 and is 1"):
        load_trained(task, batch, tmp_path / "mine", 3, mesh, config={"rate": 1})
