"""The speed of the losses over a catalogue, and of its ranking: what is printed and written."""

from __future__ import annotations

import pytest

from launch.bench import losses

ROWS = ["--rows=8", "--width=4", "--negatives=3"]


def test_losses(measure, check_program):
    report, printed = measure("losses", "--items=50", "--items=90", *ROWS)
    assert [size["items"] for size in report["sizes"]] == [50, 90]
    for size in report["sizes"]:
        scored = {"plain": size["items"], "fused": size["items"], "sampled": 4}
        assert set(size["losses"]) == set(scored)
        for name, loss in size["losses"].items():
            # Scores, gradient of the states, gradient of the table: two operations a product
            check_program(loss, 8, flop=3 * 2 * 8 * scored[name] * 4)
        ratio = size["time_over_plain"]["fused"]
        assert f"fused / plain: {ratio['median']:.3f} times the time" in printed
    assert report["summary"]["plain extra GB at 90 items"] > 0


def test_a_plain_loss_that_is_too_large_is_left_out(measure):
    report, printed = measure("losses", "--items=50", "--plain_gigabytes=0", *ROWS)
    size = report["sizes"][0]
    assert set(size["losses"]) == {"fused", "sampled"}
    assert not size["time_over_plain"]
    assert "plain: left out, it would take" in printed
    assert not [figure for figure in report["summary"] if "plain" in figure]


@pytest.mark.parametrize(
    ("asked", "room", "bound"),
    [(-1, 80_000_000_000, 72e9), (-1, None, 3e9), (5, 80_000_000_000, 5e9), (0, None, 0.0)],
)
def test_the_plain_loss_may_take_what_is_free(asked, room, bound, monkeypatch):
    monkeypatch.setattr(losses, "find_room", lambda: room)
    assert losses.find_bound(losses.Flags(plain_gigabytes=asked)) == bound


CATALOGUE = ["catalogue", "--items=300", "--batch=4", "--width=4", "--seen=3"]


def test_a_part_of_the_users_is_timed_and_it_is_said(measure, check_program):
    report, printed = measure(*CATALOGUE, "--users=101", "--blocks=5")
    assert (report["chunks"], report["items_per_chunk"]) == (1, 512)
    check_program(report["ranking"], 4, flop=2 * 4 * 512 * 4)
    assert not report["seconds_for_all_measured"]
    batch_ms = report["ranking"]["ms_per_step"]["median"]
    assert report["seconds_for_all"] == pytest.approx(26 * batch_ms / 1e3)
    assert "(worked out from the median of 5 batches)" in printed
    assert "s for 101 users (worked out)" in report["summary"]


def test_all_users_are_timed(measure):
    report, printed = measure(*CATALOGUE, "--users=21", "--whole")
    assert report["blocks"] == 6
    assert report["seconds_for_all_measured"]
    assert "all 21 users: " in printed
    assert "(measured)" in printed
