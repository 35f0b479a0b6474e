"""Several steps by one call of the device."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InputError
from common.training.settings import TrainSettings
from common.training.stage_loop import count_steps_of_call

COUNTS = st.integers(0, 9)


@given(st.integers(1, 60), st.integers(1, 8), st.tuples(COUNTS, COUNTS, COUNTS), st.integers(0, 59))
def test_calls_never_cross_a_border_and_do_not_depend_on_the_start(total, many, borders, start):
    def walk(step):
        steps = []
        while step < total:
            count = count_steps_of_call(step, many, total, borders)
            steps.append((step, count))
            step += count
        return steps

    for step, count in walk(0):
        inside = range(step + 1, step + count)
        assert not any(every and at % every == 0 for every in borders for at in inside)
        assert step + count <= total
    whole = walk(0)
    if start in [step for step, _ in whole]:
        assert walk(start) == [call for call in whole if call[0] >= start]


def test_many_steps_are_made_by_one_call():
    assert count_steps_of_call(0, 4, 24, (6, 0, 0)) == 4
    assert count_steps_of_call(4, 4, 24, (6, 0, 0)) == 1  # an evaluation is due after 6
    assert count_steps_of_call(8, 4, 24, (6, 0, 0)) == 4


@pytest.fixture
def chunked(tiny):
    return replace(tiny.QUIET, steps_per_dispatch=4, checkpoint_every_steps=10)


def test_the_run_is_the_same_as_step_by_step(tiny, chunked, tmp_path):
    one = tiny.run(tmp_path / "one", settings=replace(chunked, steps_per_dispatch=1))
    many = tiny.run(tmp_path / "many", settings=chunked)
    lines, others = (tiny.read_lines(tmp_path / name) for name in ("one", "many"))
    assert len(lines) == len(others) > 24
    for line, other in zip(lines, others, strict=True):
        assert line.keys() == other.keys()
        assert line["step"] == other["step"]
        for name, value in line["values"].items():
            np.testing.assert_allclose(other["values"][name], value, rtol=2e-5, err_msg=name)
    assert many.global_step == one.global_step
    assert many.examples_per_second > 0


def test_interrupted_it_goes_on_bit_for_bit(tiny, chunked, tmp_path):
    whole = tiny.run(tmp_path / "whole", settings=chunked)
    for before in (9, 15):
        part = tiny.run(
            tmp_path / f"part{before}", settings=chunked, iterate=tiny.interrupt("SIGTERM", before)
        )
        assert part.interrupted == "SIGTERM"
        again = tiny.run(tmp_path / f"part{before}", settings=chunked)
        tiny.assert_same(again.params, whole.params)
        assert tiny.read_lines(tmp_path / f"part{before}") == tiny.read_lines(tmp_path / "whole")


def test_a_loss_that_is_no_number_names_its_own_step(tiny, chunked, tmp_path):
    with pytest.raises(FloatingPointError, match="step 7"):
        tiny.run(
            tmp_path,
            settings=replace(chunked, eval_every_steps=12),
            open_source=lambda stage: tiny.TinySource(stage, poison=6),
        )


def test_less_than_one_step_is_refused():
    with pytest.raises(InputError, match="steps_per_dispatch"):
        TrainSettings(steps_per_dispatch=0)
