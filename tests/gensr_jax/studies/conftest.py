"""Runs of GenSR for the studies: folders written by hand, models as `init` makes them."""

from __future__ import annotations

import json

import pytest

from common.configs.making import make_config
from common.data.fingerprint import describe_data
from common.data.folder import load_dataset
from common.runs.methods import find_method
from common.runs.tasks import take_batch
from common.runs.trained import Trained
from common.training.mesh import put_batch
from common.training.step import init_params, place_key, prepare_constants
from gensr_jax.configs import tiny as config_file
from gensr_jax.studies import generative, query


@pytest.fixture
def write_run(tiny, tmp_path):
    """write_run(name, arg, lines, **values): a run's folder, as NAME=WORKDIR of `--runs`.

    arg: of the tiny config; lines: of metrics.jsonl; values: keys of the config that differ
    """

    def write(name, arg="", lines=(), **values):
        config = config_file.get_config(arg)
        config.text.vocabulary = 256
        if "method" in values:
            config = make_config(find_method(values["method"]).settings)
        config.update(values)
        config.data.path = str(tiny)
        workdir = tmp_path / f"{name}{config.seed}"
        workdir.mkdir()
        saved = {"config": config.to_dict(), "dataset": describe_data(load_dataset(tiny))}
        (workdir / "config.json").write_text(json.dumps(saved))
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (workdir / "metrics.jsonl").write_text(text)
        return f"{name}={workdir}"

    return write


@pytest.fixture
def pair(write_run, monkeypatch):
    """pair(name, arg, **values): `--runs` of GenSR and another run, both untrained."""

    def load(task, workdir, seed, dataset, mesh):
        batch = put_batch(mesh, take_batch(task, dataset))
        params, constants = init_params(task, place_key(seed, "init", mesh), batch, mesh)
        ready = prepare_constants(task.stages[-1], params, constants, mesh)
        return Trained(task, params, ready)

    for module in (generative, query):
        monkeypatch.setattr(module, "load_model", load)
    return lambda *other, **values: f"--runs={write_run('GenSR')},{write_run(*other, **values)}"
