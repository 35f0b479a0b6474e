"""A run is a function of (config, dataset, seed): stopped anywhere, it goes on the same."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from common.errors import InputError
from common.training.checkpoints import list_steps
from common.training.task import Stopping


@pytest.fixture(scope="module")
def whole(tiny, tmp_path_factory):
    """An uninterrupted run of the tiny task, 24 steps, and its workdir."""
    workdir = tmp_path_factory.mktemp("whole")
    return tiny.run(workdir, fingerprint={"dataset": "abc"}), workdir


def test_forty_steps_are_seventeen_and_twenty_three(tiny, tmp_path):
    """Bit for bit: parameters, best, log. A difference means that something besides
    (config, dataset, seed) leaks into a run."""
    task = tiny.make_task(tiny.make_stage(epochs=40))
    settings = replace(tiny.QUIET, eval_every_steps=10)

    class Forty(tiny.TinySource):
        def __len__(self):
            return 40

    options = {"open_source": Forty, "settings": settings}
    whole = tiny.run(tmp_path / "whole", task, **options)
    part = tiny.run(tmp_path / "parts", task, **options, iterate=tiny.interrupt("SIGTERM", 16))
    assert (part.interrupted, part.global_step, part.stages) == ("SIGTERM", 17, ())
    assert list_steps(tmp_path / "parts" / "checkpoints")[-1] == 17
    rest = tiny.run(tmp_path / "parts", task, **options)
    assert (rest.interrupted, rest.global_step) == (None, 40)
    tiny.assert_same(whole.params, rest.params)
    assert whole.stages == rest.stages
    assert tiny.read_lines(tmp_path / "whole") == tiny.read_lines(tmp_path / "parts")
    assert len(tiny.read_lines(tmp_path / "whole", "train")) == 40


def test_an_interrupted_evaluation_is_made_up_for(tiny, tmp_path, whole):
    """The signal comes at a border where an evaluation is due: save first, evaluate on resume."""
    part = tiny.run(tmp_path, iterate=tiny.interrupt("SIGINT", 11))
    assert (part.interrupted, part.global_step) == ("SIGINT", 12)
    assert [line["step"] for line in tiny.read_lines(tmp_path, "valid")] == [6]
    rest = tiny.run(tmp_path)
    tiny.assert_same(whole[0].params, rest.params)
    assert tiny.read_lines(whole[1]) == tiny.read_lines(tmp_path)


def test_a_second_ctrl_c_leaves_at_once(tiny, tmp_path):
    def impatient(source, start):
        yield from tiny.interrupt("SIGINT", 3)(source, start)

    def twice(source, start):
        for step, batch in enumerate(impatient(source, start), start):
            if step == 3:
                next(tiny.interrupt("SIGINT", 0)(source, 0))
            yield batch

    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path, iterate=twice)


def test_a_finished_run_is_not_trained_again(tiny, whole):
    first, workdir = whole
    before = (workdir / "metrics.jsonl").read_text()
    again = tiny.run(workdir, fingerprint={"dataset": "abc"}, validate=tiny.fall([]))
    tiny.assert_same(first.params, again.params)
    assert first.stages == again.stages
    assert first.examples_per_second == again.examples_per_second
    assert (workdir / "metrics.jsonl").read_text() == before


def test_plateau_and_patience_survive_a_restart(tiny, tmp_path):
    stopping = Stopping(metric="fit", patience=3, plateau_patience=2)
    task = tiny.make_task(tiny.make_stage(epochs=9, stopping=stopping))
    values = [0.5, 0.4, 0.3, 0.2, 0.9]
    whole = tiny.run(tmp_path / "whole", task, validate=tiny.fall(values))
    tiny.run(
        tmp_path / "parts", task, validate=tiny.fall(values), iterate=tiny.interrupt("SIGTERM", 14)
    )
    rest = tiny.run(tmp_path / "parts", task, validate=tiny.fall(values[2:]))
    assert rest.stages == whole.stages
    assert rest.stages[0].rate_scale == 0.1
    assert rest.global_step == 24


@pytest.mark.parametrize("at", [17, 20])  # at the border between the stages, in the second
def test_two_stages_and_a_restart(tiny, tmp_path, at):
    first = tiny.make_stage(name="first", epochs=3)
    second = tiny.make_stage(
        name="second", epochs=1, trainable=lambda path: path.startswith("head/")
    )
    task = tiny.make_task(first, second)
    values = [0.1, 0.9, 0.2, 0.5]  # the first stage's best is after its second epoch
    kept = []

    def validate(params, constants):
        kept.append(jax.tree.map(np.asarray, params))
        return {"fit": values[len(kept) - 1]}

    whole = tiny.run(tmp_path / "whole", task, validate=validate)
    assert [(s.name, s.steps, s.best_step) for s in whole.stages] == [
        ("first", 18, 12),
        ("second", 6, 24),
    ]
    # The second stage began with the best of the first, and moved the head only.
    tiny.assert_same(whole.params["embed"], kept[1]["embed"])
    assert not np.array_equal(whole.params["head"]["kernel"], kept[1]["head"]["kernel"])

    def iterate(source, start):
        offset = 0 if len(source) == 18 else 18
        return tiny.interrupt("SIGTERM", at - offset)(source, start)

    done = at // 6  # evaluations before the signal; one due at that very step waits
    part = tiny.run(tmp_path / "parts", task, iterate=iterate, validate=tiny.fall(values))
    assert part.global_step == at + 1
    rest = tiny.run(tmp_path / "parts", task, validate=tiny.fall(values[done:]))
    tiny.assert_same(whole.params, rest.params)
    assert whole.stages == rest.stages

    def logged(name):  # the values are made up; everything else must agree
        return [
            (line["step"], line["stage"], line["kind"]) for line in tiny.read_lines(tmp_path / name)
        ]

    assert logged("whole") == logged("parts")


def test_going_on_with_something_else_is_refused(tiny, whole):
    workdir = whole[1]
    with pytest.raises(InputError, match="seed was 3 and is 4"):
        tiny.run(workdir, fingerprint={"dataset": "abc"}, seed=4)
    with pytest.raises(InputError, match="dataset was 'abc' and is 'abd'"):
        tiny.run(workdir, fingerprint={"dataset": "abd"})

    class Other(tiny.TinySource):
        def position(self, step):
            return {"epoch": 0, "next_batch": step}

    with pytest.raises(InputError, match=r"was at data position \{'epoch': 4, 'next_batch': 0\}"):
        tiny.run(workdir, fingerprint={"dataset": "abc"}, open_source=Other)


def test_a_cut_short_checkpoint_costs_steps_but_no_number(tiny, tmp_path, capsys, whole):
    tiny.run(tmp_path, iterate=tiny.interrupt("SIGTERM", 20))
    path = tmp_path / "checkpoints" / "21" / "optimizer" / "manifest.ocdbt"
    path.write_bytes(path.read_bytes()[:30])
    rest = tiny.run(tmp_path)
    assert "21: damaged (optimizer/manifest.ocdbt has 30 of" in capsys.readouterr().err
    tiny.assert_same(whole[0].params, rest.params)
    assert tiny.read_lines(whole[1]) == tiny.read_lines(tmp_path)


def test_the_seed_matters(tiny, tmp_path, whole):
    other = tiny.run(tmp_path, seed=4)
    assert not np.array_equal(whole[0].params["head"]["kernel"], other.params["head"]["kernel"])


def test_the_real_iterator_gives_the_same_run(tiny, tmp_path, whole):
    """Through grain's prefetching thread, by default, instead of the tests' own generator."""
    result = tiny.run(tmp_path, iterate=None)
    tiny.assert_same(whole[0].params, result.params)
