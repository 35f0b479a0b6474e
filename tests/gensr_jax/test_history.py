"""The joint history against a plain merge of both services."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gensr_jax.history import join_history, order_history


def test_order_by_hand():
    batch = {
        # Oldest first, pads at the end; the timeline is rec 7, search 5 (no click), rec 8,
        # search (3, 4), rec 9.
        "rec_item": jnp.array([[7, 8, 9, 0]]),
        "search_click": jnp.array([[[0, 0], [3, 4], [0, 0]]]),
        "order": jnp.array([[4, 2, 0, 7, 3, 1, 7]]),
    }
    assert join_history(batch, 5).tolist() == [[9, 3, 4, 8, 7]]
    assert join_history(batch, 2).tolist() == [[9, 3]]
    assert join_history(batch, 30)[0, :7].tolist() == [9, 3, 4, 8, 7, 0, 0]
    assert join_history(batch, 30).shape == (1, 30)
    # Four rec slots, then two clicks of each of three searches.
    assert order_history(batch, 7)[1].tolist() == [[2, 6, 7, 1, 0, -1, -1]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=9), st.integers(1, 6))
def test_equals_a_plain_merge(events, length):
    """events: oldest first, (is a search, item or 0 = a search without a click)."""
    events = [(search, item or (0 if search else 1)) for search, item in events]
    rec, click, order = np.zeros((1, 9)), np.zeros((1, 9, 1)), np.full((1, 18), 18)
    counts = [0, 0]
    for place, (search, item) in enumerate(events):
        slot = counts[search]
        counts[search] += 1
        order[0, 9 * search + slot] = len(events) - 1 - place
        (click[0, :, 0] if search else rec[0])[slot] = item
    batch = {"rec_item": rec, "search_click": click, "order": order}
    joined = join_history({k: jnp.asarray(v, jnp.int32) for k, v in batch.items()}, length)
    expected = [item for _, item in reversed(events) if item][:length]
    assert joined[0].tolist() == expected + [0] * (length - len(expected))
