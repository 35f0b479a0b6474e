"""The speed of LCR: what is printed and written, and how operations are counted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from common.data.view import View
from launch import bench
from launch.bench_inputs import draw_batch, draw_dataset
from launch.bench_lcr import count_forward
from launch.command import run_command
from lcr_jax.configs import base

SMALL = [
    *("--batch=8", "--history=3", "--items=30", "--queries=10"),
    *("--width=4", "--reasoning=1", "--steps=1"),
]


def test_the_report(tmp_path, capsys, quick_compiler):
    out = tmp_path / "speed.json"
    assert run_command(bench.main, ["lcr", *SMALL, "--blocks=5", f"--out={out}"]) == 0
    printed = capsys.readouterr().out
    report = json.loads(out.read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["speed.json"]
    assert report["rows"] == 8
    assert 1 <= report["mean_length"]["rec"] <= report["padded_length"]["rec"] == 3
    assert set(report["steps"]) == {"supervised", "reinforce"}
    for name, step in report["steps"].items():
        assert f"{name}: {step['rows_per_second']:,.0f} rows/s" in printed
        spread = step["ms_per_step"]
        assert 0 < spread["min"] <= spread["median"] <= spread["max"]
        assert step["rows_per_second"] == pytest.approx(8e3 / spread["median"])
        assert step["compiled_flop_per_step"] > 0
    # Products by hand and all operations by XLA: not the same, but not far from each other either.
    supervised = report["steps"]["supervised"]
    ratio = supervised["compiled_flop_per_step"] / (8 * supervised["analytic_flop_per_row"])
    assert 0.7 < ratio < 5
    assert "analytic_flop_per_row" not in report["steps"]["reinforce"]
    share = supervised["compiled_flop_per_second"] / supervised["compiled_share_of_peak"]
    assert share == pytest.approx(report["peak_flop_per_second"]["float32"]["median"])
    assert report["reinforce_over_supervised"]["median"] > 0
    assert report["peak_memory"]["host"] > 1e8


def test_operations_of_the_literal_configuration():
    config = base.get_config()
    config.data.rec_length = config.data.search_length = 30
    count = count_forward(config, rows=1112, items=20_000, queries=5_000)
    # 61 tokens: 48 * 64^2 + 4 * 61 * 64 products of two operations are 7 of the 10 MFLOP.
    encoder = 2 * 61 * (12 * 64**2 + 2 * 61 * 64)
    assert encoder == 6_949_120
    assert encoder < count < 1.6 * encoder
    config.model.layers = 2
    assert count_forward(config, 1112, 20_000, 5_000) - count == pytest.approx(encoder)
    # A catalogue too large to be mapped as a whole costs what the batch asks of it, and no more.
    large = count_forward(config, 1112, 500_000, 5_000)
    assert large == count_forward(config, 1112, 900_000, 5_000) > count


def test_random_batches_are_like_real_ones():
    dataset = draw_dataset(np.random.default_rng(0), items=50, queries=9)
    view = View(rec_length=6, search_length=5, clicks=3, negatives=7)
    batch = draw_batch(np.random.default_rng(1), dataset, view, 400)
    assert batch["negatives"].shape == (400, 7)
    for ids, most in (("target", 50), ("negatives", 50), ("rec_item", 50), ("search_query", 9)):
        assert batch[ids].max() == most
        assert batch[ids].dtype == np.int32
    assert batch["target"].min() == 1
    np.testing.assert_array_equal(batch["rec_item"] != 0, batch["rec_mask"] != 0)
    np.testing.assert_array_equal(batch["search_query"] != 0, batch["search_mask"] != 0)
    assert not batch["search_click"][batch["search_mask"] == 0].any()
    assert 0.3 < (batch["search_click"][..., 0] != 0).sum() / batch["search_mask"].sum() < 0.7
    real = np.concatenate([batch["rec_mask"], batch["search_mask"]], axis=1)
    for row in range(400):
        ranks = batch["order"][row]
        assert sorted(ranks[real[row] != 0]) == list(range(real[row].sum()))
        assert set(ranks[real[row] == 0]) <= {11}


@pytest.mark.parametrize(
    ("flag", "message"),
    [("--blocks=4", "blocks"), ("--out=/nowhere/x.json", "no such folder"), ("--width=3", "width")],
)
def test_bad_input(flag, message, capsys):
    assert run_command(bench.main, ["lcr", *SMALL, "--blocks=5", flag]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
