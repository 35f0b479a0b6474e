"""The T5 of PyTorch that ours is timed beside. Speed is not asserted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from common.runs.workload import SCORE
from gensr_jax.t5 import SIZES
from gensr_jax.torch_reference import make_model, open_reference

pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")
SMALL = replace(
    SIZES["mini"], vocab_size=64, width=16, heads=2, head_width=8, ff_width=16, encoder_layers=1,
    decoder_layers=1, dtype="bfloat16",
)  # fmt: skip


def test_on_a_cpu_it_is_as_the_released_code_has_it():
    reference = open_reference(SMALL, 8, {"tune": 4, SCORE: 3})
    assert reference.versions.startswith("torch ")
    assert reference.settings == {
        "device": "cpu",
        "autocast": "none",
        "float32_products": "highest",
        "optimizer": "AdamW",
        "attention": reference.settings["attention"],
        "compiled": False,
    }
    for call in reference.calls.values():
        call()
    reference.wait()


def test_what_makes_it_fast_is_told():
    reference = open_reference(SMALL, 8, {"tune": 4, SCORE: 3}, quick=True)
    found = {key: reference.settings[key] for key in ("autocast", "optimizer", "compiled")}
    assert found == {"autocast": "bfloat16", "optimizer": "AdamW, fused", "compiled": True}


def test_the_first_attention_that_is_taken():
    model, attention = make_model(transformers, SMALL, ("no_such_attention", "eager"))
    assert attention == "eager"
    assert model.config.d_model == 16
    with pytest.raises(ValueError, match="no_such_attention"):
        make_model(transformers, SMALL, ("no_such_attention",))
