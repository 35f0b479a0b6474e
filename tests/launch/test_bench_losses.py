"""The speed of the losses over a catalogue, and of its ranking: what is printed and written."""

from __future__ import annotations

import json

import pytest

from launch import bench, bench_steps
from launch.command import run_command

ROWS = ["--rows=8", "--width=4", "--negatives=3"]


@pytest.fixture(autouse=True)
def small_peak(monkeypatch):
    """The machine's peak is no matter here, and its matrices would take most of the time."""
    monkeypatch.setattr(bench_steps, "_PEAK_SIZE", 64)


def run(argv, tmp_path, capsys):
    out = tmp_path / "figures.json"
    assert run_command(bench.main, [*argv, f"--out={out}"]) == 0
    return json.loads(out.read_text()), capsys.readouterr().out


def check_work(step, rows, flop):
    spread = step["ms_per_step"]
    assert 0 < spread["min"] <= spread["median"] <= spread["max"]
    assert step["rows_per_second"] == pytest.approx(1e3 * rows / spread["median"])
    assert step["analytic_flop_per_step"] == flop
    assert step["analytic_flop_per_second"] == pytest.approx(1e3 * flop / spread["median"])


def test_losses(tmp_path, capsys, quick_compiler):
    report, printed = run(["losses", "--items=50", "--items=90", *ROWS], tmp_path, capsys)
    assert [size["items"] for size in report["sizes"]] == [50, 90]
    for size in report["sizes"]:
        scored = {"plain": size["items"], "fused": size["items"], "sampled": 4}
        assert set(size["losses"]) == set(scored)
        for name, loss in size["losses"].items():
            # Scores, gradient of the states, gradient of the table: two operations a product
            check_work(loss, 8, flop=3 * 2 * 8 * scored[name] * 4)
        ratio = size["time_over_plain"]["fused"]
        assert f"fused / plain: {ratio['median']:.3f} times the time" in printed
    assert report["summary"]["plain extra GB at 90 items"] > 0


def test_a_plain_loss_that_is_too_large_is_left_out(tmp_path, capsys, quick_compiler):
    argv = ["losses", "--items=50", "--plain_gigabytes=0", *ROWS]
    report, printed = run(argv, tmp_path, capsys)
    size = report["sizes"][0]
    assert set(size["losses"]) == {"fused", "sampled"}
    assert not size["time_over_plain"]
    assert "plain: left out, it would take" in printed
    assert not [figure for figure in report["summary"] if "plain" in figure]


CATALOGUE = ["catalogue", "--items=300", "--batch=4", "--width=4", "--seen=3"]


def test_a_part_of_the_users_is_timed_and_it_is_said(tmp_path, capsys, quick_compiler):
    report, printed = run([*CATALOGUE, "--users=101", "--blocks=5"], tmp_path, capsys)
    assert (report["chunks"], report["items_per_chunk"]) == (1, 512)
    check_work(report["ranking"], 4, flop=2 * 4 * 512 * 4)
    assert not report["seconds_for_all_measured"]
    batch_ms = report["ranking"]["ms_per_step"]["median"]
    assert report["seconds_for_all"] == pytest.approx(26 * batch_ms / 1e3)
    assert "(worked out from the median of 5 batches)" in printed
    assert "s for 101 users (worked out)" in report["summary"]


def test_all_users_are_timed(tmp_path, capsys, quick_compiler):
    report, printed = run([*CATALOGUE, "--users=21", "--whole"], tmp_path, capsys)
    assert report["blocks"] == 6
    assert report["seconds_for_all_measured"]
    assert "all 21 users: " in printed
    assert "(measured)" in printed
