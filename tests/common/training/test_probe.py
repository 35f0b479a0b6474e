"""What a stage's probe sees, and that looking changes nothing."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np


def look(params, constants, batch):
    return {
        "bias": params["head"]["bias"][0],
        "value": jnp.sum(batch["value"]),
        "scale": jnp.sum(constants["scale"]),
    }


def test_probe_sees_the_parameters_before_the_step_and_its_batch(tiny, tmp_path):
    settings = replace(tiny.QUIET, probe_every_steps=6)
    task = tiny.make_task(tiny.make_stage(probe=look))
    found = tiny.run(tmp_path / "probed", task, settings=settings)
    lines = tiny.read_lines(tmp_path / "probed", "probe")
    assert [line["step"] for line in lines] == [0, 6, 12, 18]
    source = tiny.TinySource(task.stages[0])
    bias = {
        line["step"]: line["values"]["bias"]
        for line in tiny.read_lines(tmp_path / "probed", "valid")
    }
    for line in lines:
        np.testing.assert_allclose(
            line["values"]["value"], source[line["step"]]["value"].sum(), rtol=1e-6
        )
        assert line["values"]["scale"] == 10.0
        if line["step"]:
            assert line["values"]["bias"] == bias[line["step"]]

    without = tiny.run(tmp_path / "without", task)
    tiny.assert_same(found.params, without.params)
    rest = [line for line in tiny.read_lines(tmp_path / "probed") if line["kind"] != "probe"]
    assert rest == tiny.read_lines(tmp_path / "without")


def test_an_interrupted_run_has_every_probe_once(tiny, tmp_path):
    settings = replace(tiny.QUIET, probe_every_steps=3, checkpoint_every_steps=4)
    task = tiny.make_task(tiny.make_stage(probe=look))
    whole = tiny.run(tmp_path / "whole", task, settings=settings)
    for before in (5, 8, 14):
        tiny.run(
            tmp_path / "parts", task, settings=settings, iterate=tiny.interrupt("SIGTERM", before)
        )
    rest = tiny.run(tmp_path / "parts", task, settings=settings)
    tiny.assert_same(whole.params, rest.params)
    assert tiny.read_lines(tmp_path / "whole") == tiny.read_lines(tmp_path / "parts")


def test_stages_without_a_probe_write_none(tiny, tmp_path):
    first, second = tiny.make_stage(name="first", epochs=1), tiny.make_stage(epochs=1, probe=look)
    tiny.run(
        tmp_path, tiny.make_task(first, second), settings=replace(tiny.QUIET, probe_every_steps=2)
    )
    lines = tiny.read_lines(tmp_path, "probe")
    assert [(line["stage"], line["step"]) for line in lines] == [
        ("fit", 6),
        ("fit", 8),
        ("fit", 10),
    ]
    assert set(lines[0]["values"]) == {"bias", "value", "scale"}
