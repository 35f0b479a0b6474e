"""Numbers of parameters at the released sizes; nothing is computed, shapes alone."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest

from gensr_jax.model import GenSR
from gensr_jax.parameters import param_report
from gensr_jax.settings import LossSettings, ModelSettings
from gensr_jax.t5 import SIZES
from gensr_jax.tune import tune_terms


@pytest.fixture
def shape_of(drawn):
    """shape_of(**switches): the tree of a model with the sizes of flan-t5-base."""

    def shapes(**switches):
        t5 = replace(SIZES["base"], full_head=switches.get("head") == "full")
        module = GenSR(ModelSettings(t5=t5, n_items=9, yes=3, no=4, **switches))
        small = drawn()  # its batch and prompts will do
        constants = small.constants | {
            "cf_table": jnp.zeros((10, 64)),
            "title_head": jnp.zeros((10, 10), jnp.int32),
        }

        def touch_all(model):
            return tune_terms(model, LossSettings(), constants, small.batch, deterministic=True)

        def init(key):
            return module.init(key, method=touch_all)["params"]

        return jax.eval_shape(init, jax.random.key(0))

    return shapes


def test_published_has_the_numbers_of_the_release(shape_of, released):
    report = param_report(shape_of(**released), released=True)
    assert report.parts == {
        "t5": 247_577_856,
        "semantic_view": 3_546_624,
        "semantic_filter": 589_824,
        "projector": 49_920,
        "cf_view": 25_216,
        "cf_filter": 4_096,
        "cf_norm": 1_536,
        "semantic_norm": 1_536,
    }
    assert report.live == 251_796_608
    assert sum(report.dead.values()) == 3_573_120
    assert report.total == 255_369_728  # as the released log says
    # A second copy is as large as the first.
    for name in ("cf_view", "semantic_view"):
        assert report.dead[f"{name}, second copy"] == report.parts[name]


@pytest.mark.parametrize(("head", "t5", "total"), [
    ("full", 247_577_856, 254_194_117),
    ("two", 247_577_856 - 24_674_304, 229_521_349),
])  # fmt: skip
def test_the_corrected_model_part_by_part(shape_of, head, t5, total):
    report = param_report(shape_of(head=head))
    parts = dict(report.parts)
    assert parts.pop("answers", 0) == (1_536 if head == "two" else 0)
    assert parts == {
        "t5": t5,
        "semantic_view": 3_546_624 + 768 + (20 + 10) * 768,  # layer, no history, two positions
        "semantic_filter": 4 * 768**2,
        "projector": 64 * 768 + 768 + 768**2 + 768,
        "cf_view": 25_216 + 64 + 20 * 64,
        "cf_filter": 4 * 64**2,
        "cf_norm": 1_536,
        "semantic_norm": 1_536,
        "gain": 4,
        "log_temperature": 1,
    }
    assert report.live == report.total == total
