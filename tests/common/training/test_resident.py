"""Where batches are gathered: on the host, or on devices that have room for the events."""

from types import SimpleNamespace

import numpy as np
import pytest

from common.data.timeline import Timeline
from common.data.view import View
from common.errors import InputError
from common.training.resident import choose_columns


@pytest.fixture(scope="module")
def timeline():
    """1,000 rec events and 500 searches of one click."""
    columns = dict.fromkeys(Timeline.__dataclass_fields__, np.zeros(1, np.int64))
    columns |= dict.fromkeys(("rec_item", "rec_to_search"), np.zeros(1000, np.int64))
    columns |= dict.fromkeys(("search_query", "search_past_rec"), np.zeros(500, np.int64))
    columns |= {"search_click_off": np.arange(501), "search_click_item": np.ones(500, np.int32)}
    columns |= {"search_click_from": np.ones(500, np.int64)}
    return Timeline(**columns)


def make_mesh(platform, limit):
    stats = limit and {"bytes_limit": limit}
    device = SimpleNamespace(platform=platform, memory_stats=lambda: stats)
    return SimpleNamespace(local_devices=[device])


SIZE = 4 * (2 * 1000 + 2 * 500 + 2 * 5 * 501)  # bytes


@pytest.mark.parametrize(
    ("choice", "platform", "limit", "taken", "why"),
    [
        ("auto", "cpu", None, False, "the devices are CPUs; the events take 0.0 MB"),
        ("on", "cpu", None, True, "the events take 0.0 MB"),
        ("off", "gpu", 10**9, False, "config.resident is off"),
        ("auto", "gpu", 4 * SIZE, True, "the events take 0.0 MB"),
        ("auto", "gpu", 4 * SIZE - 4, False, "the events take 0.0 MB, more than 25% of 0 MB"),
        ("auto", "gpu", None, False, "the events take 0.0 MB, more than 25% of 0 MB"),
    ],
)
def test_where_the_events_are_kept(timeline, choice, platform, limit, taken, why):
    columns, reason = choose_columns(choice, timeline, View(clicks=5), make_mesh(platform, limit))
    assert reason == why
    assert (columns is not None) == taken
    if taken:
        assert {column.dtype for column in columns} == {np.dtype(np.int32)}
        assert sum(column.nbytes for column in columns) == SIZE


def test_packed_sequences_are_made_by_the_host(timeline):
    mesh, view = make_mesh("gpu", 10**12), View(packed=True)
    assert choose_columns("auto", timeline, view, mesh) == (None, "the host packs sequences")
    with pytest.raises(InputError, match="packed sequences, which the host makes; use auto"):
        choose_columns("on", timeline, view, mesh)
    with pytest.raises(InputError, match=r"config\.resident = 'yes': unknown; use one of auto, on"):
        choose_columns("yes", timeline, view, mesh)
