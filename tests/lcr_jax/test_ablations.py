"""Each ablation changes what it says, and the changed model takes a training step."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common.data.batches import training_source
from common.data.folder import PrepareSettings, write_dataset
from common.data.loading import load_dataset
from common.data.readers.synthetic import generate
from common.data.view import HOST_FIELDS
from common.errors import InputError
from lcr_jax import build
from lcr_jax.configs import ablations, base, beauty, demo, tiny
from lcr_jax.configs.ablations import ABLATIONS
from lcr_jax.task import make_constants

MEANT = {  # what each is named after
    "no_reasoning": ("reasoner.steps", 0),
    "k1": ("reasoner.steps", 1),
    "k2": ("reasoner.steps", 2),
    "k3": ("reasoner.steps", 3),
    "k4": ("reasoner.steps", 4),
    "k6": ("reasoner.steps", 6),
    "no_contrastive": ("loss.contrastive_weight", 0.0),
    "no_rl": ("second.kind", "none"),
    "no_search": ("data.searches", False),
    "no_gate": ("reasoner.gate", False),
    "no_null_event": ("reasoner.null_event", False),
    "dual_encoder": ("model.encoder", "dual"),
    "grounded": ("model.encoder", "grounded"),
    "no_evidence_loss": ("loss.evidence_weight", 0.0),
    "no_support": ("reasoner.support", False),
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "tiny"
    write_dataset(path, generate("tiny"), PrepareSettings(negatives=20))
    return load_dataset(path)


def flatten(config):
    return {f"{group}.{key}": v for group in dict(config) for key, v in items(config[group])}


def items(group):
    return group.items() if hasattr(group, "items") else [("", group)]


def test_every_ablation_of_the_list_is_there():
    assert MEANT.keys() == ABLATIONS.keys()


@pytest.mark.parametrize("file", [base, beauty, demo, tiny], ids=lambda file: file.__name__)
@pytest.mark.parametrize("name", MEANT)
def test_the_config_changes_in_its_keys_only(file, name):
    plain, changed = flatten(file.get_config()), flatten(file.get_config(name))
    key, value = MEANT[name]
    assert changed[key] == value
    differ = {k for k in plain if plain[k] != changed[k]}
    assert differ <= ABLATIONS[name].keys()
    assert plain.keys() == changed.keys()


def test_several_are_joined():
    config = base.get_config("k1+no_gate+no_search+no_evidence_loss")
    assert (config.reasoner.steps, config.reasoner.gate, config.data.searches) == (1, False, False)
    assert base.get_config("") == base.get_config()


@pytest.mark.parametrize(
    ("arg", "message"),
    [
        ("no_gates", "argument no_gates: no such ablation; did you mean no_gate?"),
        ("xyz", "use one of no_reasoning, k1,"),
        ("no_gate+K=0", "argument K=0: no such ablation"),
        ("k1+no_reasoning", "config.reasoner.steps gets two values"),
    ],
)
def test_what_cannot_be_is_named(arg, message):
    with pytest.raises(InputError, match=message.replace("?", r"\?")):
        base.get_config(arg)


def test_an_ablation_that_changes_nothing_warns(capsys):
    tiny.get_config("no_gate")
    assert capsys.readouterr().err == ""
    demo.get_config("no_gate")  # the demo's model has no gate
    assert "warning: --config, argument no_gate: changes nothing" in capsys.readouterr().err


def test_no_rl_forgets_where_the_second_stage_starts():
    config = base.get_config()
    config.second.kind, config.second.start = "reinforce", "runs/lcr"
    ablations.ablate(config, "no_rl")
    assert (config.second.kind, config.second.start) == ("none", "")


def take_batch(task, dataset, size=16):
    source = training_source(dataset, task.view, size, 0, 1)
    return {k: v for k, v in source[0].items() if k not in HOST_FIELDS}


def draw_params(task, batch):
    """Random parameters of the right shapes: compiling `init` takes longer than a test."""
    rng = np.random.default_rng(0)
    shapes, _ = jax.eval_shape(task.init, jax.random.key(0), batch)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(0, 0.2, x.shape), x.dtype), shapes)


@pytest.fixture
def make_model(dataset):
    """make_model(name) -> task, its first batch, parameters, constants."""

    def make(name):
        config = tiny.get_config(name)
        config.model.width, config.loss.alignment_negatives = 8, 4
        task = build(config, dataset)
        batch = take_batch(task, dataset)
        return task, batch, draw_params(task, batch), make_constants(dataset, task.view)

    return make


# k2 to k4 are k6 with another count, and every one of them would be traced for half a second.
@pytest.mark.parametrize("name", [name for name in MEANT if name not in ("k2", "k3", "k4")])
def test_the_model_is_what_the_name_says(name, make_model):
    task, batch, params, constants = make_model(name)
    (stage,) = task.stages
    _, metrics = jax.eval_shape(stage.loss, params, constants, batch, jax.random.key(0))
    told = jax.eval_shape(task.explain, params, constants, batch)
    steps = MEANT[name][1] if MEANT[name][0] == "reasoner.steps" else 2
    assert told["state_norms"].shape[1] == steps + 1
    assert ("contrastive" in metrics) == (name not in ("no_contrastive", "no_reasoning"))
    assert ("alignment" in metrics) == (name != "no_search")
    names = {"/".join(key.key for key in path) for path, _ in jax.tree.leaves_with_path(params)}
    assert any(n.startswith("reasoner/gate/") for n in names) == (
        name not in ("no_gate", "no_reasoning")
    )
    assert any("rec_from_search" in n for n in names) == (name == "dual_encoder")


@pytest.mark.parametrize("name", ["no_search", "dual_encoder+no_null_event+no_gate"])
def test_one_training_step_lowers_the_loss(name, make_model):
    task, batch, params, constants = make_model(name)
    (stage,) = task.stages
    step = jax.jit(jax.value_and_grad(stage.loss, has_aux=True))
    key = jax.random.key(1)
    (loss, _), slope = step(params, constants, batch, key)
    nearer = jax.tree.map(lambda p, g: p - np.float32(0.001) * g, params, slope)
    assert np.isfinite(loss)
    assert step(nearer, constants, batch, key)[0][0] < loss


def test_without_searches_all_evidence_is_the_null_event(make_model):
    task, batch, params, constants = make_model("no_search")
    explain = jax.jit(lambda p, c, b: task.explain(p, c, b)["mean_evidence"])
    evidence = np.asarray(explain(params, constants, batch))
    assert not any(batch[f"search_{part}"].any() for part in ("mask", "query", "click"))
    np.testing.assert_allclose(evidence[:, 0], 1, rtol=1e-6)
    np.testing.assert_array_equal(evidence[:, 1:], 0)


def test_without_searches_the_same_rows_and_rec_events_are_left(dataset):
    with_them, without = (
        take_batch(build(tiny.get_config(arg), dataset), dataset) for arg in ("", "no_search")
    )
    for name in ("user", "target", "rec_item", "rec_mask", "negatives"):
        np.testing.assert_array_equal(without[name], with_them[name], err_msg=name)
    # Recency now counts rec events alone: the newest is 0, the one before 1, ...
    length, pad = without["rec_mask"].shape[1], without["order"].shape[1]
    count = without["rec_mask"].sum(axis=1, keepdims=True)
    expected = np.where(without["rec_mask"] != 0, count - 1 - np.arange(length), pad)
    np.testing.assert_array_equal(without["order"][:, :length], expected)
    assert (without["order"][:, length:] == pad).all()
