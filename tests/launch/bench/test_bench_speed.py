"""The speed of the methods: what is printed and written."""

from __future__ import annotations

import pytest

from launch.bench.programs import Calls, Peaks

SMALL = {
    "lcr": ["--batch=8", "--history=3", "--items=30", "--queries=10", "--width=4",
            "--reasoning=1", "--steps=1"],
    "gensr": ["--size=mini", "--length=16", "--lists=2"],
    "sasrec": ["--batch=2", "--length=4", "--items=30", "--width=4", "--layers=1", "--lists=3",
               "--steps=1"],
}  # fmt: skip
ROWS = {
    "lcr": {"supervised": 8, "reinforce": 8},
    "gensr": {"tune": 10, "score": 100},
    "sasrec": {"supervised": 8, "score": 3},
}


@pytest.mark.parametrize("method", SMALL)
def test_the_report(method, measure, check_program):
    report, printed = measure(method, *SMALL[method], "--blocks=3")
    assert report["rows"] == ROWS[method]
    assert sum(report["parameters_by_part"].values()) == report["parameters"]
    name, count = next(iter(report["parameters_by_part"].items()))
    assert f"  {name} {count:,}, " in printed
    assert list(report["peak_flop_per_second"]) == ["float32"]  # on a CPU there are no others
    assert report["peak_width"] == 64
    assert report["init_seconds"] == report["summary"]["init s"] > 0
    peak = report["peak_flop_per_second"]["float32"]["median"]
    for name, rows in ROWS[method].items():
        step = report["steps"][name]
        assert f"{name} ({rows:,} rows): {step['rows_per_second']:,.0f} rows/s" in printed
        assert report["summary"][f"{name} rows/s"] == step["rows_per_second"]
        counted = "analytic_flop_per_row" in step
        assert counted == (name != "reinforce")
        if counted:
            check_program(step, rows, rows * step["analytic_flop_per_row"])
            assert f"  analytic: {step['analytic_flop_per_step'] / 1e9:,.2f} GFLOP/st" in printed
        if name != "score":
            share = step["compiled_flop_per_second"] / step["compiled_share_of_peak"]
            assert share == pytest.approx(peak)
    if method == "lcr":
        assert 1 <= report["mean_length"]["rec"] <= report["padded_length"]["rec"] == 3
        assert report["config"]["model"]["width"] == 4
        assert report["reinforce_over_supervised"]["median"] > 0
        assert "reinforce / supervised: " in printed
        # By hand and by XLA: not the same, but not far from each other either.
        step = report["steps"]["supervised"]
        assert 0.7 < step["compiled_flop_per_step"] / step["analytic_flop_per_step"] < 5
    if method == "gensr":
        assert report["workload"] == "T5 mini, prompts of 16 tokens"
        tokens, rows = (report["steps"]["tune"][f"{of}_per_second"] for of in ("tokens", "rows"))
        assert tokens == pytest.approx(16 * rows)


def test_a_kind_that_was_not_measured_has_the_peak_of_float32():
    of = {"float32": {"median": 2.0}, "bfloat16": {"median": 8.0}}
    peaks = Peaks(64, of)
    assert (peaks.of("bfloat16"), peaks.of("float32_highest")) == (8.0, 2.0)
    assert peaks.report() == {"peak_width": 64, "peak_flop_per_second": of}


def test_the_clock_is_read_when_the_device_is_done():
    """The first call, which compiles, is no block."""
    done = []
    calls = Calls(lambda: done.append("call"), lambda: done.append("wait"))
    assert calls.milliseconds == []
    assert calls.first_seconds >= 0
    calls.run_block(2)
    assert done == ["wait", "call", "wait", "wait", "call", "call", "wait"]
    assert len(calls.milliseconds) == 1
