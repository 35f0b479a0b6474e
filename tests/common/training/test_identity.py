"""What a run hangs on beside configuration and data: a checkpoint knows it."""

from __future__ import annotations

import jax
import pytest

from common.errors import InputError
from common.training.checkpoints import list_steps, read_record
from common.training.mesh import make_mesh
from common.training.restore import load_trained
from common.training.task import Identity

WORDS = Identity("vocabulary", "a" * 64, "install the library of that run")
OTHER = WORDS._replace(value="b" * 64)
MESSAGE = (
    r"checkpoints/6: its vocabulary is aaaaaaaaaaaa, here it is bbbbbbbbbbbb; "
    r"install the library of that run$"
)


@pytest.fixture
def task_of(tiny):
    return lambda *identities: tiny.make_task(tiny.make_stage(epochs=1))._replace(
        identities=identities
    )


def load(tiny, task, workdir, **options):
    batch = tiny.TinySource(task.stages[0])[0]
    return load_trained(task, batch, workdir, 3, make_mesh(jax.devices()[:1]), **options)


def test_another_dataset_is_refused_on_loading(tiny, task_of, tmp_path):
    """As where checkpoints were copied beside the config.json of another run."""
    parts = {"tables": "a" * 64, "split.joint": "b" * 64}
    tiny.run(tmp_path, task_of(), fingerprint={"data": parts})
    load(tiny, task_of(), tmp_path, data=parts)
    with pytest.raises(InputError, match="made on other data: the split joint is b"):
        load(tiny, task_of(), tmp_path, data={**parts, "split.joint": "c" * 64})


def saved_fingerprint(workdir):
    folder = workdir / "checkpoints"
    return read_record(folder / str(list_steps(folder)[-1]))[1]


def test_another_identity_is_refused_on_resume_and_on_loading(tiny, task_of, tmp_path):
    tiny.run(tmp_path, task_of(WORDS), fingerprint={"dataset": "abc"})
    assert saved_fingerprint(tmp_path) == {
        "dataset": "abc", "seed": 3, "identity": {"vocabulary": "a" * 64},
    }  # fmt: skip
    with pytest.raises(InputError, match=MESSAGE):
        tiny.run(tmp_path, task_of(OTHER), fingerprint={"dataset": "abc"})
    with pytest.raises(InputError, match=MESSAGE):
        load(tiny, task_of(OTHER), tmp_path)
    again = tiny.run(tmp_path, task_of(WORDS), fingerprint={"dataset": "abc"})
    assert again.global_step == 6
    load(tiny, task_of(WORDS), tmp_path)


def test_runs_without_one_are_as_before(tiny, task_of, tmp_path):
    tiny.run(tmp_path, task_of(), fingerprint={"dataset": "abc"})
    assert saved_fingerprint(tmp_path) == {"dataset": "abc", "seed": 3}
    # A run from before the identity was stored cannot be judged by it.
    load(tiny, task_of(WORDS), tmp_path)
    assert tiny.run(tmp_path, task_of(WORDS), fingerprint={"dataset": "abc"}).global_step == 6
    with pytest.raises(InputError, match="dataset was 'abc' and is 'abd'"):
        tiny.run(tmp_path, task_of(WORDS), fingerprint={"dataset": "abd"})


def test_a_run_cannot_start_from_another_identity(tiny, task_of, tmp_path):
    tiny.run(tmp_path / "first", task_of(WORDS), fingerprint={"dataset": "abc"})
    start = {"start": str(tmp_path / "first")}
    tiny.run(tmp_path / "same", task_of(WORDS)._replace(**start), fingerprint={"dataset": "abc"})
    with pytest.raises(InputError, match="its vocabulary is aaaaaaaaaaaa, here it is bbbb"):
        tiny.run(
            tmp_path / "other", task_of(OTHER)._replace(**start), fingerprint={"dataset": "abc"}
        )
