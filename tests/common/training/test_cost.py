"""Rates that the logbook carries beside the examples per second."""

from __future__ import annotations

import jax
import pytest

from common.training import cost
from common.training.cost import Cost, measure_cost


def test_rates_of_a_list():
    rates = measure_cost(Cost(rows=5, tokens=550, flop=2e9), 40.0)
    assert rates["rows_per_second"] == 200
    assert rates["tokens_per_second"] == 22_000
    assert rates["flop_per_second"] == 8e10
    assert measure_cost(None, 40.0) == {}


def test_share_of_a_known_peak(monkeypatch):
    kind = jax.devices()[0].device_kind
    monkeypatch.setitem(cost.PEAKS, kind, 4e11 / jax.device_count())
    rates = measure_cost(Cost(5, 550, 2e9), 40.0)
    assert rates["mfu"] == pytest.approx(0.2)
