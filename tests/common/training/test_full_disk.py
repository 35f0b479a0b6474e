"""A disk that is full: the run stops and says so, and goes on when there is room again.

A limit on the size of files stands for the disk: what goes beyond it is refused in the same way.
"""

import json
import resource
import time
from dataclasses import replace

import jax
import pytest

from common.errors import WriteError
from common.training.checkpoints import list_steps
from common.training.checksums import write_checksums

UNLIMITED = resource.getrlimit(resource.RLIMIT_FSIZE)
ROOM = 60_000  # bytes: more than any file but the wide table of `make_wide`


def fill_disk(room):
    """From now on no file of this process may grow beyond `room` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, UNLIMITED[1]))


@pytest.fixture(autouse=True)
def make_room():
    """make_room(): the disk is as it was; at the end of a test in any case."""

    def free():
        resource.setrlimit(resource.RLIMIT_FSIZE, UNLIMITED)

    yield free
    free()


def fill_at_second_evaluation(tiny, workdir, room=None):
    """A `validate` that fills the disk after step 12, when the checkpoint of step 6 is on it.

    room: bytes; None = part of the record's next line
    """
    calls = []

    def validate(params, constants):
        calls.append(time.monotonic())
        if len(calls) == 2:
            while not (workdir / "checkpoints" / "6").exists():
                assert time.monotonic() < calls[1] + 60
                time.sleep(0.01)
            fill_disk(room or (workdir / "metrics.jsonl").stat().st_size + 50)
        return tiny.validate(params, constants)

    return validate


def make_wide(tiny, *stages):
    """The tiny task with a table of 0.2 MB that no compression makes smaller."""

    def init(key, batch):
        params, constants = tiny.init(key, batch)
        return {**params, "wide": jax.random.normal(key, (1000, 50))}, constants

    return tiny.make_task(*stages)._replace(init=init)


def test_a_failed_save_stops_the_run_and_the_one_before_goes_on(tiny, tmp_path, make_room, capfd):
    whole = tiny.run(tmp_path / "whole", make_wide(tiny))
    folder = tmp_path / "parts" / "checkpoints"
    validate = fill_at_second_evaluation(tiny, folder.parent, ROOM)
    with pytest.raises(WriteError) as error:
        tiny.run(folder.parent, make_wide(tiny), validate)
    assert str(error.value) == (
        f"{folder / '12'}: cannot be saved (File too large); what was saved before is whole; "
        "mend that, then start the same command again"
    )
    assert "Traceback" not in capfd.readouterr().err
    make_room()
    assert list_steps(folder) == [6]
    rest = tiny.run(folder.parent, make_wide(tiny))
    tiny.assert_same(whole.params, rest.params)
    assert tiny.read_lines(tmp_path / "whole") == tiny.read_lines(tmp_path / "parts")


def test_it_stops_before_the_next_save_is_due(tiny, tmp_path):
    """The loop asks after each step: the next save may be hours away."""

    def iterate(source, start):
        for step in range(start, len(source)):
            time.sleep(0.05 if step > 200 else 0)  # 10 s from save to save
            yield source[step]

    stage = tiny.make_stage(epochs=100)
    settings = replace(
        tiny.QUIET, eval_every_epochs=100, checkpoint_every_steps=200, log_every_steps=50
    )
    fill_disk(ROOM)
    with pytest.raises(WriteError, match="checkpoints/200: cannot be saved"):
        tiny.run(tmp_path, make_wide(tiny, stage), settings=settings, iterate=iterate)
    assert tiny.read_lines(tmp_path)[-1]["step"] < 400


def test_a_full_disk_under_the_record_of_a_run_is_told_too(tiny, tmp_path, make_room):
    whole = tiny.run(tmp_path / "whole")
    log = tmp_path / "parts" / "metrics.jsonl"
    with pytest.raises(WriteError) as error:
        tiny.run(log.parent, validate=fill_at_second_evaluation(tiny, log.parent))
    make_room()
    assert str(error.value).startswith(f"{log}: cannot be written (File too large); mend")
    with pytest.raises(ValueError, match="line 1"):
        json.loads(log.read_text().splitlines()[-1])  # the last line is cut off
    rest = tiny.run(log.parent)
    tiny.assert_same(whole.params, rest.params)
    assert tiny.read_lines(tmp_path / "whole") == tiny.read_lines(tmp_path / "parts")


def test_a_full_disk_under_tensorboard_does_not_hold_the_run_for_ever(tiny, tmp_path):
    pytest.importorskip("tensorboardX")
    settings = replace(tiny.QUIET, tensorboard=True, eval_every_epochs=100)
    task = tiny.make_task(tiny.make_stage(epochs=100))
    fill_disk(ROOM)
    with pytest.raises(WriteError, match=f"^{tmp_path}.*: cannot be written .File too large.; "):
        tiny.run(tmp_path, task, settings=settings)


def test_a_listing_is_whole_or_absent(tiny, tmp_path, make_room):
    """A kill or a full disk while the checksums are written must not condemn a good checkpoint."""
    tiny.run(tmp_path, iterate=tiny.interrupt("SIGTERM", 3))
    path = tmp_path / "checkpoints" / "4"
    (path / "checksums.json").unlink()
    fill_disk(10)
    with pytest.raises(OSError, match="File too large"):
        write_checksums(path)
    make_room()
    assert not (path / "checksums.json").exists()
    assert tiny.run(tmp_path).global_step == 24
